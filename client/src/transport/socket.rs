//! The socket of a session, which stays ours only as long as the program that we are in leaves it
//! alone.
//!
//! A program in C or Python may close descriptors which it did not open (`close(3)` and so on
//! before it goes on as a daemon). That frees the number of our socket, and the kernel assigns it
//! to the next file. So the socket is compared with the one that was connected before each use, and
//! before it is closed. A child after fork(2) shares the socket with its parent: each of the two
//! could read the answer to the other's request.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::sockopt::socket_cookie;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use rustix::process::{Pid, getpid};

/// A connected socket, and what it is known by.
#[derive(Debug)]
pub(crate) struct Socket {
    /// In an `Arc` so that it can be left open: a number that is a stranger's by now is not ours to close.
    descriptor: Arc<OwnedFd>,
    /// The kernel's number of the socket (SO_COOKIE), which no other socket ever has. None on a kernel without:
    /// then nothing is compared but the process.
    cookie: Option<u64>,
    /// The process that connected it.
    process: Pid,
}

impl Socket {
    /// Takes a socket of this process.
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        let cookie = socket_cookie(&descriptor).ok();
        Self { descriptor: Arc::new(descriptor), cookie, process: getpid() }
    }

    /// Checks that it may be used. It never sleeps, whatever file has its number now.
    ///
    /// # Errors
    /// The descriptor belongs to another file, or the session to another process.
    pub(crate) fn check(&self) -> io::Result<()> {
        if !self.is_same() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, CLOSED));
        }
        match self.process == getpid() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::NotConnected, FORKED)),
        }
    }

    /// Closes it, and puts a stream at its end in its place, for who waits there.
    pub(crate) fn end(&mut self) {
        match dead_end() {
            Ok(end) => *self = Self::new(end),
            // Without room for another descriptor, the old one has to do.
            Err(_) if self.check().is_ok() => drop(shutdown(&*self.descriptor, Shutdown::Both)),
            Err(_) => {}
        }
    }

    fn is_same(&self) -> bool {
        socket_cookie(&*self.descriptor).ok() == self.cookie
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Socket {
    /// Leaves a stranger's descriptor open.
    fn drop(&mut self) {
        if !self.is_same() {
            std::mem::forget(Arc::clone(&self.descriptor));
        }
    }
}

const CLOSED: &str = "this program has closed the session's descriptor, which it did not open";
const FORKED: &str = "the session belongs to another process, from which this one was forked";

fn dead_end() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).map(|(end, _closed)| end)
}
