//! Giving memory back to the system that many connections or deposits had.
//!
//! The allocator keeps what was freed as long as something behind it is in use. So after a crowd the process
//! would stay as large as it was then.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::sys::memory::give_back_unused;

/// After how many ends it is worth what it takes: some milliseconds, or tens of them where much is held.
const MANY: u32 = 1024;
/// The shortest time between two such calls, since nobody is served during one.
const SELDOM: Duration = Duration::from_secs(30);

/// How many connections or deposits have ended since memory was last given back.
#[derive(Default)]
pub(crate) struct Freed {
    ends: Cell<u32>,
    last: Cell<Option<Instant>>,
}

impl Freed {
    /// One more has ended.
    pub(crate) fn count(&self) {
        self.ends.set(self.ends.get().saturating_add(1));
    }

    /// Returns unused memory to the system if many connections or deposits have ended, and that was
    /// not done lately.
    pub(crate) fn give_back(&self) {
        if self.take_turn() {
            give_back_unused();
        }
    }

    /// Whether it is to be done now. If so, the caller does it.
    fn take_turn(&self) -> bool {
        let now = Instant::now();
        let recent = self.last.get().is_some_and(|last| now.duration_since(last) < SELDOM);
        if recent || self.ends.get() < MANY {
            return false;
        }
        self.ends.set(0);
        self.last.set(Some(now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_after_many_ends_and_not_again_at_once() {
        let freed = Freed::default();
        (0..MANY - 1).for_each(|_| freed.count());
        assert!(!freed.take_turn());
        freed.count();
        assert!(freed.take_turn());
        (0..2 * MANY).for_each(|_| freed.count());
        assert!(!freed.take_turn(), "it was done a moment ago");
    }
}
