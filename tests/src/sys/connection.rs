//! What the kernel knows of a TCP connection and of open file descriptions.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Where the fields are in `struct tcp_info`, of which libc has an older part only.
const ACKNOWLEDGED: usize = 120;
const RECEIVED: usize = 128;

/// How many bytes of a TCP connection went each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were written to the socket.
    pub written: u64,
    /// Bytes that were read from it.
    pub read: u64,
}

/// How far the program has come that has a connection, which accept(2) returned. Nobody reads or writes it now.
///
/// # Errors
/// As getsockopt(2) and ioctl(2).
pub fn progress(socket: impl AsFd) -> io::Result<Progress> {
    let socket = socket.as_fd();
    loop {
        let before = counted(socket)?;
        let unsent = outgoing(socket)?;
        let unread = rustix::io::ioctl_fionread(socket)?;
        let after = counted(socket)?;
        // What moves in between is in neither number, or in both.
        if before == after {
            let [acknowledged, received] = after;
            return Ok(Progress { written: acknowledged + unsent, read: received - unread });
        }
    }
}

/// The bytes that the other end has acknowledged, and those that it has sent.
fn counted(socket: impl AsFd) -> io::Result<[u64; 2]> {
    let mut info = [0_u8; 256];
    let mut size = info.len() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    let into = info.as_mut_ptr().cast();
    // SAFETY: getsockopt(2) writes at most `size` bytes to the address given, which are ours.
    match unsafe { libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, into, &mut size) } {
        0 => Ok([ACKNOWLEDGED, RECEIVED].map(|at| {
            let field = info[at..at + 8].try_into().expect("eight bytes");
            u64::from_ne_bytes(field)
        })),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The bytes that were written and that the other end has not acknowledged.
fn outgoing(socket: impl AsFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: TIOCOUTQ (SIOCOUTQ for a socket) writes one int to the address given, which is ours.
    match unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) } {
        0 => u64::try_from(bytes).map_err(io::Error::other),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether two descriptors of this process are of one open file description (kcmp(2)).
pub fn same_description(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    const KCMP_FILE: libc::c_int = 0;
    let own = std::process::id();
    let [one, other] = [one.as_fd().as_raw_fd(), other.as_fd().as_raw_fd()];
    // SAFETY: kcmp(2) takes integers only.
    match unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, one, other) } {
        order @ 0.. => Ok(order == 0),
        _ => Err(io::Error::last_os_error()),
    }
}
