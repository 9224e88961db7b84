//! A socket of this process that is connected to a broker.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// A connected stream socket, maybe bound to a path of its own before.
pub fn connected(path: &Path, bound: Option<&Path>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    if let Some(own) = bound {
        rustix::net::bind(&socket, &SocketAddrUnix::new(own)?)?;
    }
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
