//! A resource that is opened once, and shared by all who may have it.
//!
//! While it cannot be opened it has failed, and nothing else notices. It is tried again for each caller, and when something
//! appears in its directory. A device that was replaced by another one is opened again.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fdbroker_wire::Opened;

use super::failure::OpenFailure;
use super::openable::Openable;
use crate::fd::{CloseQueue, Depositor, PeerFd};

type Result<T> = std::result::Result<T, OpenFailure>;

/// What all of them share.
pub(super) struct Shared {
    /// `None` while it has failed.
    opened: Mutex<Option<Arc<Opened<PeerFd>>>>,
    /// Held by the thread that opens it: of those behind it, none opens it once more.
    turn: Mutex<()>,
    close_queue: CloseQueue,
}

impl Shared {
    /// Not open yet.
    pub(super) fn new(close_queue: &CloseQueue) -> Arc<Self> {
        let (opened, turn, close_queue) = (Mutex::default(), Mutex::default(), close_queue.clone());
        Arc::new(Self { opened, turn, close_queue })
    }

    /// What was opened, unless it has failed.
    pub(super) fn get(&self) -> Option<Arc<Opened<PeerFd>>> {
        lock(&self.opened).clone()
    }

    /// Opens it if it has failed. Can block.
    ///
    /// # Errors
    /// If it fails again.
    pub(super) fn open(&self, openable: &Openable) -> Result<Arc<Opened<PeerFd>>> {
        let _turn = lock(&self.turn);
        match self.get() {
            Some(opened) => Ok(opened),
            None => openable.open_for_nobody().map(|opened| self.keep(opened)),
        }
    }

    /// Opens it if it has failed or if another device is at its path now, unless another thread is at it; returns
    /// whether it did. Can block.
    ///
    /// # Errors
    /// If it fails; then what was open stays.
    pub(super) fn open_again(&self, openable: &Openable) -> Result<bool> {
        // That thread may hang, and so would this one.
        let Ok(_turn) = self.turn.try_lock() else { return Ok(false) };
        if self.get().is_some() && (!openable.is_device() || self.is_current(openable)) {
            return Ok(false);
        }
        openable.open_for_nobody().map(|opened| drop(self.keep(opened))).map(|()| true)
    }

    /// Whether what is open is what its path leads to. What has failed, and what has gone, has not changed.
    pub(super) fn is_current(&self, openable: &Openable) -> bool {
        let Some(opened) = self.get() else { return true };
        let descriptor = opened.descriptor().descriptor();
        descriptor.is_none_or(|descriptor| openable.leads_to(descriptor))
    }

    /// Shares what was opened from now on.
    pub(super) fn keep(&self, opened: Opened<OwnedFd>) -> Arc<Opened<PeerFd>> {
        let opened = Arc::new(opened.map(|each| self.close_queue.hold(Depositor::Nobody, each)));
        *lock(&self.opened) = Some(Arc::clone(&opened));
        opened
    }
}

/// A panic while it is locked leaves it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
