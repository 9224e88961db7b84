//! Where a deposited socket is bound, and what it is connected to.

use std::os::fd::BorrowedFd;

use fdbroker_policy::Kind;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, getpeername, getsockname};

/// The address of a socket, or both of a connection, such as `192.0.2.1:80 > 192.0.2.9:4711`; `None` for what has none.
pub(super) fn of(descriptor: Option<BorrowedFd<'_>>, kind: Kind) -> Option<String> {
    let descriptor = descriptor.filter(|_| is_socket(kind))?;
    let own = getsockname(descriptor).ok().and_then(text);
    let peer = getpeername(descriptor).ok().flatten().and_then(text);
    match (own, peer) {
        (own, None) => own,
        (None, Some(peer)) => Some(format!("> {peer}")),
        (Some(own), Some(peer)) => Some(format!("{own} > {peer}")),
    }
}

const fn is_socket(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Tcp
            | Kind::TcpListener
            | Kind::Udp
            | Kind::Unix
            | Kind::UnixListener
            | Kind::UnixDatagram
    )
}

fn text(address: SocketAddrAny) -> Option<String> {
    match address.address_family() {
        AddressFamily::UNIX => unix(&SocketAddrUnix::try_from(address).ok()?),
        AddressFamily::INET | AddressFamily::INET6 => {
            std::net::SocketAddr::try_from(address).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// A path, or `@` and an abstract name, as in `ss` and in units.
fn unix(address: &SocketAddrUnix) -> Option<String> {
    match (address.path_bytes(), address.abstract_name()) {
        (Some(path), _) => Some(String::from_utf8_lossy(path).into_owned()),
        // One that is not bound.
        (None, Some([])) => None,
        (None, Some(name)) => Some(format!("@{}", String::from_utf8_lossy(name))),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use super::*;
    use crate::fd::kind;

    fn address(socket: impl AsFd) -> Option<String> {
        of(Some(socket.as_fd()), kind::of(Some(socket.as_fd())))
    }

    #[test]
    fn a_socket_has_its_address_and_a_connection_both() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(address(&listener), Some(at.to_string()));
        let client = TcpStream::connect(at).unwrap();
        let own = client.local_addr().unwrap();
        assert_eq!(address(&client), Some(format!("{own} > {at}")));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(address(&listener), Some(path.display().to_string()));
        let client = UnixStream::connect(&path).unwrap();
        assert_eq!(address(&client), Some(format!("> {}", path.display())));
        let name = format!("fdbroker-test-{}", std::process::id());
        let named = SocketAddr::from_abstract_name(&name).unwrap();
        assert_eq!(address(UnixListener::bind_addr(&named).unwrap()), Some(format!("@{name}")));
        assert_eq!(address(UnixStream::pair().unwrap().0), None);
        assert_eq!(address(std::io::pipe().unwrap().0), None);
    }
}
