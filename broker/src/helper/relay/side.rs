//! One side of a relay: its socket, and what is known of it.
//!
//! Each direction of a socket ends by itself. A side that reads no more (SHUT_RD) can still say something, as with TCP,
//! where bytes for it go nowhere. A side has gone when nobody can read or write there any more.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, send, shutdown};

pub(super) struct Side {
    pub(super) socket: OwnedFd,
    /// Nothing more comes from it.
    pub(super) has_ended: bool,
    /// It knows that nothing more comes.
    is_told: bool,
    /// Both of its directions are shut, or it has failed.
    pub(super) is_gone: bool,
}

impl Side {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, has_ended: false, is_told: false, is_gone: false }
    }

    /// Sends it something; returns how much is done with, or `None` if there is no room for now.
    pub(super) fn take(&self, bytes: &[u8]) -> Option<usize> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => Some(sent),
            Err(Errno::AGAIN) => None,
            Err(Errno::INTR) => Some(0),
            // It reads no more.
            Err(_) => Some(bytes.len()),
        }
    }

    /// Tells it, once, that nothing more comes.
    pub(super) fn tell_the_end(&mut self) {
        if !std::mem::replace(&mut self.is_told, true) {
            // One that has gone need not be told.
            let _ = shutdown(&self.socket, Shutdown::Write);
        }
    }

    /// Asks for something of it, and for its end. Of one that has gone there is nothing else to be told.
    pub(super) fn asked<'f>(&'f self, wanted: PollFlags, other: BorrowedFd<'f>) -> PollFd<'f> {
        if wanted.is_empty() && self.is_gone {
            return PollFd::from_borrowed_fd(other, PollFlags::empty());
        }
        PollFd::new(&self.socket, wanted)
    }

    pub(super) fn note(&mut self, said: PollFlags) {
        self.is_gone |= said.intersects(PollFlags::HUP | PollFlags::ERR);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::event::{Timespec, poll};

    use super::*;

    fn pair() -> (Side, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Side::new(ours.into()), theirs)
    }

    /// Looks at what has become of it.
    fn is_gone(side: &mut Side) -> bool {
        let socket = side.socket.try_clone().unwrap();
        let mut asked = [side.asked(PollFlags::IN, socket.as_fd())];
        poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
        let said = asked[0].revents();
        side.note(said);
        side.is_gone
    }

    #[test]
    fn one_that_reads_no_more_can_still_say_something() {
        let (mut side, mut theirs) = pair();
        theirs.shutdown(net::Shutdown::Read).unwrap();
        assert_eq!(side.take(b"words"), Some(5));
        assert!(!is_gone(&mut side));
        theirs.write_all(b"x").unwrap();
        let mut said = [0];
        UnixStream::from(side.socket).read_exact(&mut said).unwrap();
        assert_eq!(&said, b"x");
    }

    #[test]
    fn one_that_says_no_more_can_still_be_told_something() {
        let (mut side, mut theirs) = pair();
        theirs.shutdown(net::Shutdown::Write).unwrap();
        assert!(side.take(b"x") == Some(1) && !is_gone(&mut side));
        let mut heard = [0];
        theirs.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"x");
    }

    #[test]
    fn one_that_does_neither_has_gone() {
        let (mut side, theirs) = pair();
        theirs.shutdown(net::Shutdown::Read).unwrap();
        theirs.shutdown(net::Shutdown::Write).unwrap();
        assert!(is_gone(&mut side));
        let (mut side, theirs) = pair();
        drop(theirs);
        assert!(is_gone(&mut side));
    }
}
