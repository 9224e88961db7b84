//! Ends the making of a connection that nobody waits for any more.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{Shutdown, shutdown};
use rustix::process::{Signal, pidfd_send_signal};

/// Whether a connection is still wanted, for those who make it, from any thread.
#[derive(Clone, Default)]
pub(crate) struct Abandonment(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_abandoned: bool,
    /// What makes the connection now.
    maker: Option<Maker>,
}

enum Maker {
    /// A helper, by its link.
    Helper(OwnedFd),
    /// A program that logs in, by its pidfd.
    Program(OwnedFd),
}

/// What makes the connection, until this is dropped.
pub(super) struct Making<'a>(&'a Abandonment);

impl Abandonment {
    /// The connection is not wanted any more: the helper that makes it finds its link shut, or the program is killed.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        // One that has ended already is told nothing.
        let _ = match &state.maker {
            Some(Maker::Helper(link)) => shutdown(link, Shutdown::Both),
            Some(Maker::Program(process)) => pidfd_send_signal(process, Signal::KILL),
            None => Ok(()),
        };
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned
    }

    /// Has the helper at this link end with it.
    ///
    /// # Errors
    /// If nobody waits any more, or there is no room for another descriptor.
    pub(super) fn link(&self, link: BorrowedFd<'_>) -> io::Result<Making<'_>> {
        self.made_by(Maker::Helper(link.try_clone_to_owned()?))
    }

    /// Has the program of this pidfd end with it.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub(super) fn program(&self, process: BorrowedFd<'_>) -> io::Result<Making<'_>> {
        self.made_by(Maker::Program(process.try_clone_to_owned()?))
    }

    fn made_by(&self, maker: Maker) -> io::Result<Making<'_>> {
        let mut state = self.lock();
        if state.is_abandoned {
            return Err(io::Error::other("the caller has left"));
        }
        state.maker = Some(maker);
        Ok(Making(self))
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.lock().maker = None;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_helper_finds_its_link_shut_and_one_that_has_answered_does_not() {
        let abandonment = Abandonment::default();
        let (answered, _other) = UnixStream::pair().unwrap();
        drop(abandonment.link(answered.as_fd()).unwrap());
        let (ours, mut helper) = UnixStream::pair().unwrap();
        let _linked = abandonment.link(ours.as_fd()).unwrap();
        abandonment.abandon();
        assert_eq!(helper.read(&mut [0]).unwrap(), 0);
        answered.set_nonblocking(true).unwrap();
        assert_eq!((&answered).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(abandonment.is_abandoned() && abandonment.link(ours.as_fd()).is_err());
    }
}
