//! The slots whose former descriptor has been closed at last, told by the threads that close.
//!
//! Not a channel: that would wake the event loop for each descriptor. The [`CloseQueue`] wakes it once
//! for each batch.
//!
//! [`CloseQueue`]: crate::fd::CloseQueue

use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fdbroker_wire::Slot;

/// Those of which the worker has not been told, oldest first.
#[derive(Clone, Default)]
pub(super) struct ClosedSlots(Arc<Mutex<Closed>>);

#[derive(Default)]
struct Closed {
    /// Which worker there is, the first being 1.
    worker: u32,
    slots: Vec<Slot>,
}

/// Stands for a descriptor of a slot. When it is dropped, the descriptor has been closed.
pub(super) struct Notice {
    slot: Slot,
    leaving: Arc<AtomicU32>,
    closed: ClosedSlots,
}

/// By which worker's word a descriptor leaves its slot: only that one has it on an account until it has
/// been closed.
pub(super) struct Leaving(Arc<AtomicU32>);

/// No worker has said so yet.
const LIES_THERE: u32 = 0;

impl ClosedSlots {
    /// A notice of the next descriptor of `slot` that is closed, and what is to be told when it leaves.
    pub(super) fn notice(&self, slot: Slot) -> (Notice, Leaving) {
        let leaving = Arc::new(AtomicU32::new(LIES_THERE));
        let notice = Notice { slot, leaving: Arc::clone(&leaving), closed: self.clone() };
        (notice, Leaving(leaving))
    }

    /// Another worker comes: what the last one waited for to be closed, it does not have on an account,
    /// whenever that is closed.
    pub(super) fn next_worker(&self) {
        let mut closed = self.lock();
        closed.worker = closed.worker.wrapping_add(1);
        closed.slots.clear();
    }

    /// A descriptor leaves its slot by the word of the worker that there is.
    pub(super) fn leaves(&self, leaving: &Leaving) {
        leaving.0.store(self.lock().worker, Ordering::Relaxed);
    }

    /// Takes all.
    pub(super) fn take(&self) -> Vec<Slot> {
        mem::take(&mut self.lock().slots)
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Closed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        let mut closed = self.closed.lock();
        if self.leaving.load(Ordering::Relaxed) == closed.worker {
            closed.slots.push(self.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot::new(1, 5).unwrap()
    }

    #[test]
    fn the_worker_is_told_what_has_left_by_its_word() {
        let closed = ClosedSlots::default();
        closed.next_worker();
        let (notice, leaving) = closed.notice(slot());
        // It was kept by an earlier worker: that is no matter.
        closed.next_worker();
        closed.leaves(&leaving);
        drop(notice);
        assert_eq!(closed.take(), [slot()]);
        assert_eq!(closed.take(), []);
    }

    #[test]
    fn it_is_not_told_what_left_by_an_earlier_ones_word_whenever_that_is_closed() {
        let closed = ClosedSlots::default();
        closed.next_worker();
        let [early, late] = [(); 2].map(|()| {
            let (notice, leaving) = closed.notice(slot());
            closed.leaves(&leaving);
            notice
        });
        drop(early);
        closed.next_worker();
        drop(late);
        assert_eq!(closed.take(), []);
    }

    #[test]
    fn it_is_not_told_what_left_by_nobodys_word() {
        let closed = ClosedSlots::default();
        closed.next_worker();
        drop(closed.notice(slot()));
        assert_eq!(closed.take(), []);
    }
}
