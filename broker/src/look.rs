//! poll(2) of one descriptor, without waiting.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Which of `flags`, and of what is told unasked (HUP, ERR), is true of a descriptor now.
///
/// # Errors
/// As poll(2).
pub(crate) fn look(descriptor: BorrowedFd<'_>, flags: PollFlags) -> io::Result<PollFlags> {
    let mut asked = [PollFd::from_borrowed_fd(descriptor, flags)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(asked[0].revents())
}
