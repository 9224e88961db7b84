//! A SO_REUSEPORT group, of which this process has taken some sockets and not the others.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

/// Sockets at one address.
#[derive(Debug)]
pub(crate) struct Group {
    /// How many this process has taken.
    pub(crate) kept: usize,
    /// A duplicate of one of these.
    pub(crate) member: OwnedFd,
    /// The others.
    pub(crate) surplus: Vec<TcpListener>,
}
