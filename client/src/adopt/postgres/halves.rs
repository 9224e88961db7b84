//! The two halves of a stream, which may be polled by different tasks: both are woken when something is possible that
//! either of them can go on with.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Who waits: the half that reads, and the one that writes.
#[derive(Default, Debug)]
pub(super) struct Halves {
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Halves {
    /// Notes who reads, and returns what wakes both.
    pub(super) fn with_reader(self: &Arc<Self>, waker: &Waker) -> Waker {
        note(&self.reader, waker);
        Arc::clone(self).into()
    }

    /// Notes who writes, and returns what wakes both.
    pub(super) fn with_writer(self: &Arc<Self>, waker: &Waker) -> Waker {
        note(&self.writer, waker);
        Arc::clone(self).into()
    }

    /// Wakes the one that reads.
    pub(super) fn wake_reader(&self) {
        wake(&self.reader);
    }
}

impl Wake for Halves {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        wake(&self.reader);
        wake(&self.writer);
    }
}

fn note(half: &Mutex<Option<Waker>>, waker: &Waker) {
    let mut half = half.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *half {
        Some(noted) => noted.clone_from(waker),
        none => *none = Some(waker.clone()),
    }
}

fn wake(half: &Mutex<Option<Waker>>) {
    // Woken once the lock is free: what is woken may note itself again.
    let waker = half.lock().unwrap_or_else(PoisonError::into_inner).take();
    waker.into_iter().for_each(Waker::wake);
}
