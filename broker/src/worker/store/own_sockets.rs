//! The broker's own sockets, which it never holds for anybody.

use std::os::fd::{BorrowedFd, OwnedFd};

use fdbroker_policy::Kind;
use rustix::net::{SocketAddrAny, getpeername, getsockname};

/// Knows the broker's own sockets when it sees them.
pub(crate) struct OwnSockets(Option<SocketAddrAny>);

impl OwnSockets {
    /// A guard of the broker that listens on this socket.
    pub(crate) fn of(listener: &OwnedFd) -> Self {
        Self(getsockname(listener).ok())
    }

    /// Whether the descriptor is the broker's own listening socket, or an end of a connection to
    /// the broker: a peer that deposits its own end and leaves would never be seen to leave.
    ///
    /// Told by the address: a connected end has the listener's as its own or as its peer's. Of a
    /// broker without an address (nothing was bound) no peer can exist.
    pub(crate) fn knows(&self, descriptor: Option<BorrowedFd<'_>>, kind: Kind) -> bool {
        let (Some(descriptor), Some(own)) = (descriptor, &self.0) else { return false };
        matches!(kind, Kind::Unix | Kind::UnixListener)
            && (getsockname(descriptor).is_ok_and(|name| name == *own)
                || getpeername(descriptor).is_ok_and(|name| name == Some(own.clone())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::OwnSockets;
    use crate::fd::kind;

    #[test]
    fn the_brokers_own_sockets_are_known_and_strangers_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let guard = OwnSockets::of(&OwnedFd::from(listener.try_clone().unwrap()));
        let client = OwnedFd::from(UnixStream::connect(&path).unwrap());
        let accepted = OwnedFd::from(listener.accept().unwrap().0);
        let stranger = OwnedFd::from(UnixStream::pair().unwrap().0);
        let listener = OwnedFd::from(listener);
        let knows = |socket: &OwnedFd| {
            let socket = Some(socket.as_fd());
            guard.knows(socket, kind::of(socket))
        };
        assert!(knows(&client));
        assert!(knows(&accepted));
        assert!(knows(&listener));
        assert!(!knows(&stranger));
    }
}
