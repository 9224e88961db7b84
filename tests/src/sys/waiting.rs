//! Waiting on sockets.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connects to a listener that accepts nobody until its queue is full; gives the connections.
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

/// Whether the other end of `socket` hangs up within a time; reads nothing.
pub fn hangs_up(socket: impl AsFd, within: Duration) -> bool {
    let timeout = rustix::time::Timespec::try_from(within).unwrap();
    let mut asked = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::empty())];
    rustix::event::poll(&mut asked, Some(&timeout)).unwrap() > 0
}
