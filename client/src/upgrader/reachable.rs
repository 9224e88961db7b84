//! Whether anybody can reach an inherited listening socket.
//!
//! A socket that was shut down, or whose path has gone, is dead for everybody who has it. A process that inherits it
//! would wait forever. So it is found out before the socket is handed out.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType, bind, getpeername, listen};

use super::Address;
use super::socket_file::SocketFile;

pub(super) const SHUT_DOWN: &str = "it was shut down";

/// As many connections may wait as with the default options.
const BACKLOG: i32 = 4096;

/// Returns why nobody can reach a listening socket, or `None`.
pub(super) fn why_dead(socket: BorrowedFd<'_>, file: Option<&SocketFile>) -> Option<&'static str> {
    match was_shut_down(socket) {
        true => Some(SHUT_DOWN),
        false => file.and_then(SocketFile::why_lost),
    }
}

/// Whether shutdown(2) has ended the receiving side. A living listener never says so: of TCP it only tells whether a
/// connection waits, and a Unix one only tells of shutdown(2).
fn was_shut_down(socket: BorrowedFd<'_>) -> bool {
    let mut looked = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    let polled = poll(&mut looked, Some(&Timespec::default()));
    polled.is_ok() && looked.iter().any(|found| found.revents().contains(PollFlags::RDHUP))
}

/// Whether this is a TCP socket that neither listens nor leads anywhere, and still has its port. That is what
/// shutdown(2) leaves of a listener.
pub(super) fn has_stopped_listening(socket: BorrowedFd<'_>) -> bool {
    let is_ip = matches!(socket_domain(socket), Ok(AddressFamily::INET | AddressFamily::INET6));
    let has_port =
        || matches!(Address::of_local(socket), Ok(Some(Address::Ip(at))) if at.port() != 0);
    is_ip
        && socket_type(socket) == Ok(SocketType::STREAM)
        && socket_acceptconn(socket) == Ok(false)
        && getpeername(socket) == Err(Errno::NOTCONN)
        && has_port()
}

/// Has such a socket listen again, for everybody who has it. It keeps a port that a program chose. A port that the
/// kernel chose is free by now, and is bound once more.
pub(super) fn listen_again(socket: BorrowedFd<'_>) -> io::Result<()> {
    if let Some(Address::Ip(address)) = Address::of_local(socket)? {
        match bind(socket, &address) {
            // It is bound.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(listen(socket, BACKLOG)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use rustix::net::{Shutdown, shutdown};

    #[test]
    fn a_socket_that_lives_is_not_dead_whether_somebody_waits_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("socket"), directory.path().join("other"));
        let unix = UnixListener::bind(&path).unwrap();
        let datagram = UnixDatagram::bind(other).unwrap();
        let (tcp, udp) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        for _ in 0..2 {
            for socket in [unix.as_fd(), datagram.as_fd(), tcp.as_fd(), udp.as_fd()] {
                assert_eq!(why_dead(socket, SocketFile::of(socket).as_ref()), None);
                assert!(!has_stopped_listening(socket));
            }
            drop(UnixStream::connect(&path).unwrap());
            drop(TcpStream::connect(tcp.local_addr().unwrap()).unwrap());
        }
    }

    #[test]
    fn a_socket_that_was_shut_down_is_dead() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let unix = UnixListener::bind(&path).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for socket in [unix.as_fd(), udp.as_fd()] {
            // A UDP socket without a peer is shut down although that is an error.
            let _ = shutdown(socket, Shutdown::Read);
            assert_eq!(why_dead(socket, SocketFile::of(socket).as_ref()), Some(SHUT_DOWN));
        }
        let refused = UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_tcp_listener_that_was_shut_down_listens_again_at_its_port() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for asked in ["127.0.0.1:0".parse().unwrap(), free] {
            let tcp = TcpListener::bind(asked).unwrap();
            let address = tcp.local_addr().unwrap();
            shutdown(&tcp, Shutdown::Read).unwrap();
            assert!(has_stopped_listening(tcp.as_fd()));
            listen_again(tcp.as_fd()).unwrap();
            assert!(!has_stopped_listening(tcp.as_fd()));
            assert_eq!(tcp.local_addr().unwrap(), address);
            let _client = TcpStream::connect(address).unwrap();
            tcp.accept().unwrap();
        }
    }

    #[test]
    fn a_connection_is_no_listener_that_has_stopped() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert!(!has_stopped_listening(client.as_fd()));
    }
}
