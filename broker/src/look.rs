//! poll(2) of one descriptor, and how long it waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Waits for one of `flags`, or of what is told unasked (HUP, ERR). Not on an event loop.
///
/// # Errors
/// As poll(2), but for EINTR.
pub(crate) fn wait_for(descriptor: impl AsFd, flags: PollFlags) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(&descriptor, flags)], None) {
            Err(Errno::INTR) => {}
            result => return Ok(result.map(|_| ())?),
        }
    }
}

/// Which of `flags`, and of what is told unasked (HUP, ERR), is true of a descriptor now. Waits for nothing.
///
/// # Errors
/// As poll(2).
pub(crate) fn look(descriptor: BorrowedFd<'_>, flags: PollFlags) -> io::Result<PollFlags> {
    let mut asked = [PollFd::from_borrowed_fd(descriptor, flags)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(asked[0].revents())
}

/// How long poll(2) is to wait at most.
pub(crate) fn timespec(time: Duration) -> Timespec {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() }
}
