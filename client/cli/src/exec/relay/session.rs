//! One session with a server.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net;

use fdbroker::connection::{PEER, RELAY, RELAYED};
use fdbroker::{Connection, Deposit};
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use tokio::net::UnixStream;

/// A session that a server has begun with the broker. It ends when this is dropped: the broker may have a
/// duplicate of the socket.
#[derive(Debug)]
pub(super) struct Session {
    deposit: Deposit,
    /// Whether the payload is the broker's word.
    is_resource: bool,
}

impl Session {
    pub(super) const fn new(deposit: Deposit, is_resource: bool) -> Self {
        Self { deposit, is_resource }
    }

    /// What it is; `None` if it is no connection.
    pub(super) fn connection(&self) -> Option<Connection<'_>> {
        self.deposit.connection()
    }

    /// What the broker says of it.
    pub(super) fn payload(&self) -> &[u8] {
        &self.deposit.payload
    }

    /// The server's address, for another connection to it. `None` if it is only a depositor's word, or if the socket
    /// leads elsewhere.
    pub(super) fn server(&self) -> Option<&str> {
        let connection = self.connection().filter(|_| self.is_resource)?;
        let peer = connection.text(PEER)?;
        let leads_there = match peer.strip_prefix("tcp:") {
            Some(address) if connection.text(RELAY) != Some(RELAYED) => {
                self.remote().is_some_and(|remote| is_same(remote, address))
            }
            // The path is the one that the server has bound it to, perhaps in another mount namespace.
            Some(_) | None => self.remote().is_none(),
        };
        leads_there.then_some(peer)
    }

    /// The other end of a socket of TCP.
    fn remote(&self) -> Option<SocketAddr> {
        TcpStream::from(self.duplicate().ok()?).peer_addr().ok()
    }

    /// The socket, to be read and written here.
    pub(super) fn socket(&self) -> io::Result<UnixStream> {
        // Nothing is done with it that depends on its family.
        let socket = net::UnixStream::from(self.duplicate()?);
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket)
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        self.deposit.descriptor.as_ref().ok_or(Errno::BADF)?.try_clone()
    }

    /// Whether the server has neither closed it nor said anything since.
    pub(super) fn is_quiet(&self) -> bool {
        let Some(descriptor) = &self.deposit.descriptor else { return false };
        let peeked = recv(descriptor, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.is_err_and(|error| error == Errno::AGAIN)
    }
}

/// Whether a text is this address.
fn is_same(address: SocketAddr, text: &str) -> bool {
    let shown = text.parse::<SocketAddr>();
    shown.is_ok_and(|shown| (shown.ip(), shown.port()) == (address.ip(), address.port()))
}

impl Drop for Session {
    fn drop(&mut self) {
        // What is no session is another's, and lives on.
        if let Some(descriptor) = self.connection().and(self.deposit.descriptor.as_ref()) {
            // The server may have ended it.
            let _ = shutdown(descriptor, Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    use fdbroker::connection::{ConnectionWriter, DIRECT};

    fn session(descriptor: OwnedFd, peer: &str, relay: &str, is_resource: bool) -> Session {
        let mut writer = ConnectionWriter::new("postgres").unwrap();
        writer.add(PEER, peer).unwrap();
        writer.add(RELAY, relay).unwrap();
        let payload = writer.finish().to_vec();
        Session::new(Deposit { descriptor: Some(descriptor), ufd: 0, payload }, is_resource)
    }

    #[test]
    fn a_server_is_known_by_the_brokers_word_and_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tcp = || OwnedFd::from(TcpStream::connect(address).unwrap());
        let peer = format!("tcp:{address}");
        assert_eq!(session(tcp(), &peer, DIRECT, true).server(), Some(peer.as_str()));
        assert_eq!(session(tcp(), &peer, DIRECT, false).server(), None, "a depositor's word");
        for other in ["tcp:127.0.0.1:1", "tcp:x", "unix:/run/other"] {
            assert_eq!(session(tcp(), other, DIRECT, true).server(), None, "{other}");
        }
        let pair = || OwnedFd::from(net::UnixStream::pair().unwrap().0);
        for (peer, relay) in [(peer.as_str(), RELAYED), ("unix:/run/server", DIRECT)] {
            assert_eq!(session(pair(), peer, relay, true).server(), Some(peer));
            assert_eq!(session(pair(), peer, relay, false).server(), None);
        }
        assert_eq!(session(pair(), &peer, DIRECT, true).server(), None, "no socket of TCP");
    }
}
