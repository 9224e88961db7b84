//! Giving memory back to the system that many connections or deposits had.
//!
//! The allocator keeps what was freed as long as something behind it is in use. So after a crowd the process
//! would stay as large as it was then.

use std::cell::Cell;

use crate::sys::memory::give_back_unused;

/// After how many frees it is worth the milliseconds that it takes.
const MANY: u32 = 1024;

/// How many connections or deposits have ended since memory was last given back.
#[derive(Default)]
pub(crate) struct Freed(Cell<u32>);

impl Freed {
    /// One more has ended.
    pub(crate) fn count(&self) {
        self.0.set(self.0.get().saturating_add(1));
    }

    /// Gives memory back if many have ended. For a moment in which nobody waits, and not more often than
    /// once in some seconds.
    pub(crate) fn give_back(&self) {
        if self.0.get() >= MANY {
            self.0.set(0);
            give_back_unused();
        }
    }
}
