//! Whose a connection over the loopback interface is. Each user of the machine can reach a port there, and the
//! kernel says who has.

mod socket_diag;
mod table;

use std::net::{SocketAddr, SocketAddrV4};

use rustix::process::geteuid;

/// Where the owner of a connection to one port is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owners {
    server: SocketAddrV4,
    source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// The kernel is asked for the one connection.
    SocketDiag,
    /// Its tables are read, where it cannot be asked.
    Tables,
}

impl Owners {
    /// For the connections to a listening socket of this process; `None` if it is none of IPv4.
    pub(super) fn of(listening: SocketAddr) -> Option<Self> {
        let SocketAddr::V4(server) = listening else { return None };
        let can_be_asked = socket_diag::knows_listener(server);
        let source = if can_be_asked { Source::SocketDiag } else { Source::Tables };
        Some(Self { server, source })
    }

    /// Whether this user has made the connection from the client.
    pub(super) fn is_own(&self, client: SocketAddr) -> bool {
        let SocketAddr::V4(client) = client else { return false };
        let owner = match self.source {
            Source::SocketDiag => socket_diag::owner(client, self.server),
            Source::Tables => table::owner(client, self.server),
        };
        owner == Some(geteuid().as_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_of_this_process_is_its_users() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mapped = format!("[::ffff:127.0.0.1]:{}", address.port());
        let owners = Owners::of(address).unwrap();
        for owners in [owners, Owners { source: Source::Tables, ..owners }] {
            for address in [address.to_string(), mapped.clone()] {
                let client = TcpStream::connect(&address).unwrap();
                let (_accepted, peer) = listener.accept().unwrap();
                assert!(owners.is_own(peer), "{address} {owners:?}");
                drop(client);
                assert!(!owners.is_own(peer), "{address} {owners:?}");
            }
        }
    }
}
