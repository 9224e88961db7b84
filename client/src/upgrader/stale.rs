//! Binding a Unix socket where a dead process may have left its path behind.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_to, connect, socket_with,
};

/// Binds a new socket to a path. A socket that is there already, and that nobody listens on, is
/// removed first; anything else stays, and is an error.
pub(crate) fn bind(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = new(kind)?;
    match bind_to(&socket, &address) {
        Err(Errno::ADDRINUSE) if is_abandoned(path, &address, kind)? => {
            fs::remove_file(path)?;
            bind_to(&socket, &address)?;
        }
        bound => bound?,
    }
    Ok(socket)
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

    #[test]
    fn what_a_dead_process_left_behind_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (stream, datagram) = (directory.path().join("stream"), directory.path().join("dgram"));
        drop(UnixListener::bind(&stream).unwrap());
        drop(UnixDatagram::bind(&datagram).unwrap());
        assert!(stream.exists() && datagram.exists(), "they leave their paths behind");
        let bound = bind(&stream, SocketType::STREAM).unwrap();
        rustix::net::listen(&bound, 1).unwrap();
        UnixStream::connect(&stream).unwrap();
        let bound: UnixDatagram = bind(&datagram, SocketType::DGRAM).unwrap().into();
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
            let refused = bind(&path, kind).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "data").unwrap();
        let refused = bind(&path, SocketType::STREAM).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }
}
