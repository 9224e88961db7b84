//! A SO_REUSEPORT group, of which this process has taken some sockets and not the others.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::sockopt::socket_cookie;

/// Sockets at one address.
#[derive(Debug)]
pub(crate) struct Group {
    /// How many this process has taken.
    pub(crate) kept: usize,
    /// A duplicate of one of these.
    pub(crate) member: OwnedFd,
    /// The others.
    pub(crate) surplus: Vec<TcpListener>,
    /// All of them, by what the kernel calls them: a socket can have several names, and several descriptors.
    sockets: BTreeSet<u64>,
}

impl Group {
    pub(crate) fn of(member: OwnedFd) -> Self {
        Self { kept: 0, member, surplus: Vec::new(), sockets: BTreeSet::new() }
    }

    /// Counts a socket that this process has taken.
    pub(crate) fn keep(&mut self, socket: impl AsFd) {
        self.kept += usize::from(self.is_new(socket));
    }

    /// Takes a socket that this process does not need.
    pub(crate) fn add_surplus(&mut self, socket: OwnedFd) {
        if self.is_new(&socket) {
            self.surplus.push(socket.into());
        }
    }

    /// Whether it has this socket, be it by another descriptor. One that the kernel does not name counts as had: to
    /// shut it down could be wrong.
    pub(crate) fn has(&self, socket: impl AsFd) -> bool {
        socket_cookie(socket).map_or(true, |cookie| self.sockets.contains(&cookie))
    }

    fn is_new(&mut self, socket: impl AsFd) -> bool {
        socket_cookie(socket).is_ok_and(|cookie| self.sockets.insert(cookie))
    }
}
