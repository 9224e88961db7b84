//! Waiting on sockets.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connects to a listener that accepts nobody until its queue is full; returns the connections.
pub fn fill_queue(path: &Path) -> Vec<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let address = SocketAddrUnix::new(path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match rustix::net::connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(rustix::io::Errno::AGAIN) => return waiting,
            Err(error) => panic!("connect: {error}"),
        }
    }
}

/// Makes receiving on `socket` give up after a time.
pub fn receive_timeout(socket: impl AsFd, timeout: Duration) {
    rustix::net::sockopt::set_socket_timeout(
        socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(timeout),
    )
    .unwrap();
}

/// Whether something can be read from `socket` within a time: bytes or the end.
pub fn readable(socket: impl AsFd, within: Duration) -> bool {
    let timeout = rustix::time::Timespec::try_from(within).unwrap();
    let mut asked = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut asked, Some(&timeout)).unwrap() > 0
}

/// Whether the other end of a Unix stream socket has read everything (SIOCOUTQ, see unix(7)).
pub fn is_read(socket: impl AsFd) -> bool {
    let mut unread: libc::c_int = 0;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: TIOCOUTQ (SIOCOUTQ for a socket) writes one int to the address given, which is ours.
    let failed = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut unread) } != 0;
    assert!(!failed, "SIOCOUTQ: {}", std::io::Error::last_os_error());
    unread == 0
}

/// Whether the other end of `socket` hangs up within a time; reads nothing.
pub fn hangs_up(socket: impl AsFd, within: Duration) -> bool {
    let timeout = rustix::time::Timespec::try_from(within).unwrap();
    let mut asked = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::empty())];
    rustix::event::poll(&mut asked, Some(&timeout)).unwrap() > 0
}
