//! What programs connect to, a socket in the directory or a port of this machine: accepts the connections of this
//! user, and nobody else's.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fdbroker_types::quoted;
use rustix::process::geteuid;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::loopback::Owners;
use super::protocol::Server;
use crate::failure::Failure;

/// How many connections are served at once. Others wait until one has ended.
const MOST: usize = 400;
/// The pause after a failed accept(2), such as for want of a descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// What listens.
#[derive(Debug)]
pub(super) enum Listener {
    /// A socket in a directory.
    Unix(UnixListener),
    /// A port of the loopback interface, for programs that take nothing else.
    Loopback(TcpListener, SocketAddr, Owners),
}

impl Listener {
    /// Listens at a path.
    pub(super) fn at(path: &Path) -> Result<Self, Failure> {
        UnixListener::bind(path).map(Self::Unix).map_err(|error| {
            let path = quoted(path);
            Failure::local(format_args!("exec: cannot listen at {path}"), error)
        })
    }

    /// Listens at a free port.
    pub(super) async fn on_loopback() -> Result<Self, Failure> {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listens = bound.and_then(|listener| {
            let address = listener.local_addr()?;
            let owners = Owners::of(address).ok_or(io::ErrorKind::Unsupported)?;
            Ok(Self::Loopback(listener, address, owners))
        });
        listens
            .map_err(|error| Failure::local("exec: cannot listen on the loopback interface", error))
    }

    /// The address of the port; `None` for a socket in the directory.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Loopback(_, address, _) => Some(*address),
        }
    }

    /// Accepts a connection; `None` if it is another user's.
    async fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self {
            Self::Unix(listener) => {
                let (client, _) = listener.accept().await?;
                // Only root can have passed the directory otherwise.
                let uid = client.peer_cred()?.uid();
                Ok((uid == geteuid().as_raw()).then_some(client))
            }
            Self::Loopback(listener, _, owners) => {
                let (client, peer) = listener.accept().await?;
                if owners.is_own(peer) { plain(client).map(Some) } else { Ok(None) }
            }
        }
    }
}

/// Nothing is done with it that depends on its family.
fn plain(client: TcpStream) -> io::Result<UnixStream> {
    client.set_nodelay(true)?;
    let client = client.into_std()?;
    UnixStream::from_std(net::UnixStream::from(OwnedFd::from(client)))
}

/// Serves for ever, each connection in a task of its own.
pub(super) async fn serve(listener: Listener, server: Server) {
    let server = Arc::new(server);
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(Some(client)) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    server.serve(client).await;
                    drop(place);
                });
            }
            Ok(None) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
