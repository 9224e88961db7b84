//! The slots whose former descriptor has been closed at last, told by the threads that close.
//!
//! Not a channel: that would wake the event loop for each descriptor. The [`CloseQueue`] wakes it once
//! for each batch.
//!
//! [`CloseQueue`]: crate::fd::CloseQueue

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fdbroker_wire::Slot;

/// Those of which the worker has not been told, oldest first.
#[derive(Clone, Default)]
pub(super) struct ClosedSlots(Arc<Mutex<Vec<Slot>>>);

/// Stands for a descriptor of a slot. When it is dropped, the descriptor has been closed.
pub(super) struct Notice {
    slot: Slot,
    closed: ClosedSlots,
}

impl ClosedSlots {
    /// A notice of the next descriptor of `slot` that is closed.
    pub(super) fn notice(&self, slot: Slot) -> Notice {
        Notice { slot, closed: self.clone() }
    }

    /// Takes all.
    pub(super) fn take(&self) -> Vec<Slot> {
        mem::take(&mut *self.lock())
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.closed.lock().push(self.slot);
    }
}
