//! Which kind of socket a descriptor is, so that nobody takes one for another.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType, getpeername};

/// A kind of socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SocketKind {
    /// A TCP socket that listens.
    TcpListener,
    /// A TCP connection.
    TcpStream,
    /// A UDP socket.
    UdpSocket,
    /// A Unix stream socket that listens.
    UnixListener,
    /// A Unix stream connection.
    UnixStream,
    /// A Unix datagram socket.
    UnixDatagram,
}

impl SocketKind {
    /// Whether a descriptor is a socket of this kind.
    pub fn fits(self, descriptor: impl AsFd) -> bool {
        Self::of(descriptor).is_ok_and(|found| found == Some(self))
    }

    /// What a descriptor is, in words.
    pub(super) fn describe(descriptor: impl AsFd) -> &'static str {
        match Self::of(&descriptor) {
            Ok(Some(form @ (Self::TcpStream | Self::UnixStream))) => {
                match getpeername(descriptor) {
                    Err(Errno::NOTCONN) if form == Self::TcpStream => {
                        "a TCP socket that does not listen"
                    }
                    Err(Errno::NOTCONN) => "a Unix socket that does not listen",
                    _ => form.words(),
                }
            }
            Ok(Some(form)) => form.words(),
            Ok(None) => "a socket of another kind",
            Err(_) => "no socket",
        }
    }

    /// The kind that a socket is of; none for a kind that is not named here.
    fn of(socket: impl AsFd) -> io::Result<Option<Self>> {
        let socket = socket.as_fd();
        let ip = match socket_domain(socket)? {
            AddressFamily::INET | AddressFamily::INET6 => true,
            AddressFamily::UNIX => false,
            _ => return Ok(None),
        };
        let listens = socket_acceptconn(socket)?;
        Ok(match (socket_type(socket)?, ip, listens) {
            (SocketType::STREAM, true, true) => Some(Self::TcpListener),
            (SocketType::STREAM, true, false) => Some(Self::TcpStream),
            (SocketType::STREAM, false, true) => Some(Self::UnixListener),
            (SocketType::STREAM, false, false) => Some(Self::UnixStream),
            (SocketType::DGRAM, true, _) => Some(Self::UdpSocket),
            (SocketType::DGRAM, false, _) => Some(Self::UnixDatagram),
            _ => None,
        })
    }
}

impl fmt::Display for SocketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl SocketKind {
    fn words(self) -> &'static str {
        match self {
            Self::TcpListener => "a TCP socket that listens",
            Self::TcpStream => "a TCP connection",
            Self::UdpSocket => "a UDP socket",
            Self::UnixListener => "a Unix socket that listens",
            Self::UnixStream => "a Unix connection",
            Self::UnixDatagram => "a Unix datagram socket",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    #[test]
    fn each_kind_of_socket_is_told_from_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let udp = UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0")).unwrap();
        let unix = UnixListener::bind(directory.path().join("socket")).unwrap();
        let (pair, _other) = UnixStream::pair().unwrap();
        let datagram = UnixDatagram::unbound().unwrap();
        let found = [
            SocketKind::of(&tcp),
            SocketKind::of(&stream),
            SocketKind::of(&udp),
            SocketKind::of(&unix),
            SocketKind::of(&pair),
            SocketKind::of(&datagram),
        ];
        let expected = [
            SocketKind::TcpListener,
            SocketKind::TcpStream,
            SocketKind::UdpSocket,
            SocketKind::UnixListener,
            SocketKind::UnixStream,
            SocketKind::UnixDatagram,
        ];
        assert_eq!(found.map(Result::unwrap), expected.map(Some));
    }

    #[test]
    fn a_file_is_no_socket_of_any_kind() {
        assert!(!SocketKind::UdpSocket.fits(tempfile::tempfile().unwrap()));
    }
}
