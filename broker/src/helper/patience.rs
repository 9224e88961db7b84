//! Waiting for a socket: until a deadline, and no longer than the supervisor is there.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::look::timespec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// How long to wait.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    /// The supervisor says no more: anything that happens here is its end.
    supervisor: BorrowedFd<'a>,
    until: Instant,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(supervisor: BorrowedFd<'a>, within: Duration) -> Self {
        Self { supervisor, until: Instant::now() + within }
    }

    /// Returns the same with a deadline that may be sooner.
    pub(crate) fn at_most(self, within: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + within), ..self }
    }

    /// Returns whether the time is up.
    pub(crate) fn is_over(self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits until one of `flags` is true of a socket, or it has failed.
    ///
    /// # Errors
    /// TimedOut; ConnectionAborted if the supervisor has gone; as poll(2).
    pub(crate) fn wait(self, socket: impl AsFd, flags: PollFlags) -> io::Result<()> {
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            let mut asked = [
                PollFd::from_borrowed_fd(self.supervisor, PollFlags::IN),
                PollFd::new(&socket, flags),
            ];
            match poll(&mut asked, Some(&timespec(left))) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !asked[0].revents().is_empty() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            if !asked[1].revents().is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits a moment.
    ///
    /// # Errors
    /// As [`Patience::wait`]; TimedOut only if all of the time is up.
    pub(crate) fn pause(self, moment: Duration) -> io::Result<()> {
        let slept = self.at_most(moment).wait(self.supervisor, PollFlags::empty());
        match slept {
            Err(error) if error.kind() == ErrorKind::TimedOut && !self.is_over() => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn waiting_ends_with_the_time_or_with_the_supervisor() {
        let (ours, supervisor) = UnixStream::pair().unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        let patience = Patience::new(ours.as_fd(), Duration::from_secs(100));
        let short = patience.at_most(Duration::from_millis(1));
        assert_eq!(short.wait(&socket, PollFlags::IN).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(short.is_over() && !patience.is_over());
        patience.pause(Duration::from_millis(1)).unwrap();
        patience.wait(&socket, PollFlags::OUT).unwrap();
        drop(supervisor);
        let gone = patience.wait(&socket, PollFlags::IN).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::ConnectionAborted);
        assert!(patience.pause(Duration::from_secs(9)).is_err());
    }
}
