//! A listening Unix socket that nobody can reach: its program would wait forever, and so that is noted.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use fdbroker_types::quoted;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{socket_acceptconn, socket_domain};
use rustix::net::{AddressFamily, SocketAddrUnix, getsockname};

/// Says why nobody can reach a listening Unix socket. It is no error: another process may see a path that this one does
/// not.
pub(super) fn note(descriptor: &OwnedFd) -> Option<String> {
    let listens = socket_domain(descriptor) == Ok(AddressFamily::UNIX)
        && socket_acceptconn(descriptor) == Ok(true);
    if !listens {
        return None;
    }
    if was_shut_down(descriptor) {
        return Some(format!("the socket was shut down, and nobody can connect to it; {CURE}"));
    }
    let path = path(descriptor).filter(|path| path.is_absolute() && !is_socket(path))?;
    Some(format!(
        "no socket is at {} any more, and nobody can connect by that path; {CURE}",
        quoted(&path)
    ))
}

const CURE: &str = "delete it and add another";

fn was_shut_down(socket: &OwnedFd) -> bool {
    let mut looked = [PollFd::new(socket, PollFlags::RDHUP)];
    let polled = poll(&mut looked, Some(&Timespec::default()));
    polled.is_ok() && looked.iter().any(|found| found.revents().contains(PollFlags::RDHUP))
}

fn path(socket: &OwnedFd) -> Option<PathBuf> {
    let address = SocketAddrUnix::try_from(getsockname(socket).ok()?).ok()?;
    address.path_bytes().map(|path| std::ffi::OsStr::from_bytes(path).into())
}

/// Whether a socket is at a path, or may be.
fn is_socket(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(found) => found.file_type().is_socket(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}
