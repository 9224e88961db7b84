//! TLS by the kernel (Documentation/networking/tls.rst): two options of a TCP socket that no crate sets.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What goes over the socket in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Sent,
    Received,
}

/// The name of the kernel's module, as an upper layer of TCP.
const TLS: &[u8] = b"tls";

/// Has the kernel's TLS take part in a connected socket. Until there are keys, nothing else changes.
///
/// # Errors
/// ENOENT where the kernel does not have it, or its module is not loaded; as setsockopt(2).
pub(crate) fn prepare(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_ULP, TLS)
}

/// Sets the keys of one direction: one of the structures of linux/tls.h, as bytes.
///
/// # Errors
/// EINVAL or EOPNOTSUPP where the kernel does not have the cipher; as setsockopt(2).
pub(crate) fn install(socket: BorrowedFd<'_>, direction: Direction, keys: &[u8]) -> io::Result<()> {
    let option = match direction {
        Direction::Sent => libc::TLS_TX,
        Direction::Received => libc::TLS_RX,
    };
    set(socket, libc::SOL_TLS, option, keys)
}

fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &[u8],
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads `length` bytes at the address of `value`, which has as many, and keeps no pointer to it.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
