//! Which tests of one program run beside others: the harness starts as many at once as there are processors.
//!
//! A test runs [`alone`] if it takes all of the machine, or if no other may start a process beside it: the child
//! has a duplicate of each descriptor until it runs its program. Each other test of its program says that it
//! runs [`beside_others`]. Other programs are not kept from running.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// Waits until no other test of this program runs; none begins before the result is dropped.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    // A test that failed has let go of the machine like any other.
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no test of this program runs [`alone`]; none does before the result is dropped.
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}
