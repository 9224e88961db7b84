//! Questions about a socket that no crate asks, and options that none sets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::ioctl_fionread;

/// Less memory than any message takes: for each the kernel allocates two structures of some 550
/// bytes in all.
const LESS_THAN_A_MESSAGE: usize = 256;

/// How much memory the unread part of what was sent on a Unix stream socket takes, in bytes; 0 when
/// the other end has read everything (SIOCOUTQ, see unix(7)).
///
/// The kernel frees the memory of a message that is read in two steps: all but one byte, then that
/// byte. In between it says that there is room (`sock_wfree`, Linux 6.18). So a worker that asks at
/// that moment may find a byte left of each such message, and would never be told again. Such bytes
/// count as read.
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
    let size = usize::try_from(size).unwrap_or(0);
    Ok(if size < LESS_THAN_A_MESSAGE { 0 } else { size })
}

/// Whether descriptors lie unread in a Unix socket: what closes it closes them. Told by `scm_fds` in
/// proc_pid_fdinfo(5), Linux 5.10. Where that is not there, anything unread may carry some.
pub(crate) fn carries_descriptors(socket: BorrowedFd<'_>) -> bool {
    if ioctl_fionread(socket) == Ok(0) {
        return false;
    }
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", socket.as_raw_fd()));
    let lines = told.as_deref().unwrap_or_default().lines();
    let count = lines.filter_map(|line| line.strip_prefix("scm_fds:")).next();
    count.is_none_or(|count| count.trim() != "0")
}

/// Has the kernel send no pidfd and no security label with what is read from a Unix socket
/// (SO_PASSPIDFD, SO_PASSSEC, see unix(7)). A kernel that knows neither sends neither.
///
/// # Errors
/// As setsockopt(2).
pub(crate) fn without_surplus(socket: BorrowedFd<'_>) -> io::Result<()> {
    let off: libc::c_int = 0;
    for option in [libc::SO_PASSPIDFD, libc::SO_PASSSEC] {
        // SAFETY: the kernel reads one int at the address given, which is ours.
        let failed = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const off).cast(),
                INT_SIZE,
            )
        } != 0;
        let error = io::Error::last_os_error();
        if failed && error.raw_os_error() != Some(libc::ENOPROTOOPT) {
            return Err(error);
        }
    }
    Ok(())
}

/// Has the kernel send a pidfd of its writer with each message (SO_PASSPIDFD, Linux 6.5 for Unix
/// sockets). Returns whether it does.
pub(crate) fn tell_writers(socket: BorrowedFd<'_>) -> bool {
    switch_on(socket, libc::SO_PASSPIDFD)
}

/// From the kernel's include/uapi/asm-generic/socket.h; libc has no name for it yet.
pub(crate) const SO_INQ: libc::c_int = 84;

/// Has the kernel tell with each message how many bytes are still unread (SO_INQ, Linux 6.17 for
/// Unix sockets): a reader that knows that there are none need not ask. Returns whether it does.
pub(crate) fn tell_unread(socket: BorrowedFd<'_>) -> bool {
    switch_on(socket, SO_INQ)
}

fn switch_on(socket: BorrowedFd<'_>, option: libc::c_int) -> bool {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one int at the address given, which is ours.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const on).cast(),
            INT_SIZE,
        )
    };
    result == 0
}

/// Has a byte that was sent out of band (MSG_OOB, Linux 5.15 for Unix sockets) read in its place.
/// Otherwise the kernel drops it while others are read, and closes its descriptors in the reader's
/// own recvmsg(2), which can take any time.
///
/// # Errors
/// As setsockopt(2).
pub(crate) fn read_urgent_inline(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_oobinline(socket, true)?)
}

#[expect(clippy::cast_possible_truncation, reason = "an int has four bytes")]
const INT_SIZE: libc::socklen_t = size_of::<libc::c_int>() as libc::socklen_t;
