//! Binding a Unix socket where a dead process may have left its path behind.
//!
//! Several processes may find a dead path at once. Then the second must not remove a socket that
//! the first has just bound, even if that does not listen yet. So all of it is done under a lock on
//! the directory.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_to, connect, socket_with,
};

/// How long others may hold the lock. A process that holds it longer uses it for something else.
const LOCK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);

/// Binds a new socket to a path, and makes it `ready`. A socket that is there already, and that
/// nobody listens on, is removed first; anything else stays, and is an error.
pub(crate) fn bind(
    path: &Path,
    kind: SocketType,
    ready: impl FnOnce(&OwnedFd) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(not_empty(path)?)?;
    let socket = new(kind)?;
    // Held to the end.
    let _lock = lock(path);
    match bind_to(&socket, &address) {
        Err(Errno::ADDRINUSE) if is_abandoned(path, &address, kind)? => {
            fs::remove_file(path)?;
            bind_to(&socket, &address)?;
        }
        bound => bound?,
    }
    ready(&socket)?;
    Ok(socket)
}

/// An empty path would stand for an abstract name: one that the kernel chooses, or the empty one, which the
/// whole machine shares.
///
/// # Errors
/// It is empty.
pub(crate) fn not_empty(path: &Path) -> io::Result<&Path> {
    match path.as_os_str().is_empty() {
        false => Ok(path),
        true => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is empty")),
    }
}

/// Locks the directory of a path; returns `None` if that fails.
fn lock(path: &Path) -> Option<File> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new("."))).ok()?;
    let end = Instant::now() + LOCK;
    loop {
        match directory.try_lock() {
            Ok(()) => return Some(directory),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(PAUSE),
            Err(_) => return None,
        }
    }
}

fn is_abandoned(path: &Path, address: &SocketAddrUnix, kind: SocketType) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    // A living one that is full must not make us wait.
    let caller =
        socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    Ok(connect(&caller, address) == Err(Errno::CONNREFUSED))
}

fn new(kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use rustix::net::listen;

    #[test]
    fn what_a_dead_process_left_behind_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (stream, datagram) = (directory.path().join("stream"), directory.path().join("dgram"));
        drop(UnixListener::bind(&stream).unwrap());
        drop(UnixDatagram::bind(&datagram).unwrap());
        assert!(stream.exists() && datagram.exists(), "they leave their paths behind");
        let _listens = bind(&stream, SocketType::STREAM, |bound| Ok(listen(bound, 1)?)).unwrap();
        UnixStream::connect(&stream).unwrap();
        let bound: UnixDatagram = bind(&datagram, SocketType::DGRAM, |_| Ok(())).unwrap().into();
        UnixDatagram::unbound().unwrap().send_to(b"x", &datagram).unwrap();
        assert_eq!(bound.recv(&mut [0; 2]).unwrap(), 1);
    }

    #[test]
    fn a_socket_that_somebody_listens_on_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (stream, datagram) = (directory.path().join("stream"), directory.path().join("dgram"));
        let _listens = UnixListener::bind(&stream).unwrap();
        let _bound = UnixDatagram::bind(&datagram).unwrap();
        for (path, kind) in [(stream, SocketType::STREAM), (datagram, SocketType::DGRAM)] {
            let refused = bind(&path, kind, |_| Ok(())).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "data").unwrap();
        let refused = bind(&path, SocketType::STREAM, |_| Ok(())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }
}
