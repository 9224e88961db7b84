//! What one thread closes in its turn, descriptor by descriptor.

use std::collections::VecDeque;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, socket_linger};
use rustix::net::{Shutdown, shutdown};

use super::depositor::Depositor;

/// How long one close may take before another thread closes what comes after it. One that does not
/// sleep takes a few microseconds.
pub(super) const SLOW: Duration = Duration::from_millis(50);

/// What is to be closed, and what is dropped afterwards.
pub(super) struct CloseJob {
    pub(super) descriptor: OwnedFd,
    pub(super) soon: bool,
    /// Whether it is shut down first.
    pub(super) shut: bool,
    pub(super) after: Option<Box<dyn Send + Sync>>,
}

/// A turn of an account: what a thread closes for it, one after the other.
pub(super) struct Turn {
    pub(super) depositor: Depositor,
    progress: Mutex<Progress>,
}

struct Progress {
    rest: VecDeque<CloseJob>,
    /// When the last close began.
    since: Instant,
    /// Something has been closed, and nobody has been told yet.
    news: bool,
}

impl Turn {
    pub(super) fn new(depositor: Depositor, jobs: VecDeque<CloseJob>, now: Instant) -> Self {
        Self { depositor, progress: Mutex::new(Progress { rest: jobs, since: now, news: false }) }
    }

    /// Closes everything, or what nobody else has taken over.
    pub(super) fn run(&self) {
        while let Some(job) = self.next() {
            job.run();
            self.lock().news = true;
        }
    }

    fn next(&self) -> Option<CloseJob> {
        let mut progress = self.lock();
        progress.since = Instant::now();
        progress.rest.pop_front()
    }

    /// When others may take over what is left.
    pub(super) fn is_slow_from(&self) -> Instant {
        self.lock().since + SLOW
    }

    pub(super) fn has_rest(&self) -> bool {
        !self.lock().rest.is_empty()
    }

    /// Whether something has been closed before the close that goes on, and nobody knows.
    pub(super) fn has_news(&self) -> bool {
        self.lock().news
    }

    /// The same, and from now on somebody knows.
    pub(super) fn take_news(&self) -> bool {
        mem::take(&mut self.lock().news)
    }

    /// Takes over what its thread has not come to.
    pub(super) fn take_over(&self) -> VecDeque<CloseJob> {
        mem::take(&mut self.lock().rest)
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CloseJob {
    fn run(self) {
        // The data of a socket that lingers still goes out, but nobody waits for that: neither do the
        // closes behind it. An error means that it is no socket.
        if !matches!(socket_linger(&self.descriptor), Ok(None) | Err(_)) {
            let _ = set_socket_linger(&self.descriptor, None);
        }
        if self.shut {
            // What is no socket, or has ended, needs none.
            let _ = shutdown(&self.descriptor, Shutdown::Both);
        }
        drop(self.descriptor);
        drop(self.after);
    }
}
