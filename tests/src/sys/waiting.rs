//! Waiting on sockets.

use std::os::fd::AsFd;
use std::time::Duration;

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
