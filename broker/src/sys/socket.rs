//! Questions about a socket that no crate asks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How much memory the unread part of what was sent on a Unix stream socket takes, in bytes;
/// 0 when the other end has read everything (SIOCOUTQ, see unix(7)).
///
/// # Errors
/// As ioctl(2).
pub(crate) fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut size: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ for a socket) writes one int to the address given, which is ours.
    let failed = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut size) } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(size).unwrap_or(0))
}
