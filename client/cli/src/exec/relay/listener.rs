//! The socket in the directory: accepts the connections of this user, and nobody else's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fdbroker_types::quoted;
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::protocol::Protocol;
use super::sessions::Sessions;
use crate::failure::Failure;

/// How many connections are served at once. Others wait until one has ended.
const MOST: usize = 400;
/// The pause after a failed accept(2), such as for want of a descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at a path.
pub(super) fn bind(path: &Path) -> Result<UnixListener, Failure> {
    UnixListener::bind(path).map_err(|error| {
        let path = quoted(path);
        Failure::local(format_args!("exec: cannot listen at {path}"), error)
    })
}

/// Serves for ever, each connection in a task of its own.
pub(super) async fn serve(listener: UnixListener, sessions: Sessions, protocol: Protocol) {
    let server = Arc::new(protocol.server(sessions));
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) if is_own(&client) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    server.serve(client).await;
                    drop(place);
                });
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whether this user has connected: only root can have passed the directory otherwise.
fn is_own(client: &UnixStream) -> bool {
    client.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}
