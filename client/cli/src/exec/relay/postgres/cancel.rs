//! CancelRequests: each goes to the server that its session is connected to.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fdbroker::Connection;
use fdbroker::adopt::postgres;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::terminal;

/// The code of a CancelRequest.
const CODE: u32 = 80_877_102;
/// How long the server may take.
const LIMIT: Duration = Duration::from_secs(10);

/// It would go to whichever server a depositor names, as this user.
const NOT_SENT: &str = "exec: note: the cancel request is not sent: the session is a user's deposit, or its socket does \
    not lead to the server that the payload names";

/// The sessions that are relayed: process and key as the client sends them, and the server's address, if it is known.
#[derive(Default)]
pub(super) struct Keys(Mutex<HashMap<Vec<u8>, Option<String>>>);

/// A session in the table, until this is dropped.
pub(super) struct Registered<'a> {
    keys: &'a Keys,
    key: Vec<u8>,
}

impl Keys {
    /// Adds a session, if it has a key.
    pub(super) fn register(
        &self,
        connection: Connection<'_>,
        server: Option<&str>,
    ) -> Option<Registered<'_>> {
        let (pid, key) = postgres::key(connection)?;
        let key = [&pid.to_be_bytes(), key].concat();
        self.with(|table| table.insert(key.clone(), server.map(str::to_owned)));
        Some(Registered { keys: self, key })
    }

    /// Passes a request on, and returns when the server has taken it. A key that no session has is left aside, as a
    /// server does.
    pub(super) async fn pass_on(&self, key: &[u8]) -> io::Result<()> {
        let peer = self.with(|table| table.get(key).cloned());
        let Some(peer) = peer else { return Ok(()) };
        let Some(peer) = peer else {
            terminal::complain(format_args!("{NOT_SENT}"));
            return Ok(());
        };
        let length = u32::try_from(key.len()).unwrap_or(u32::MAX).saturating_add(8);
        let request = [&length.to_be_bytes(), &CODE.to_be_bytes(), key].concat();
        timeout(LIMIT, send(&peer, &request)).await?
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Vec<u8>, Option<String>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.keys.with(|table| table.remove(&self.key));
    }
}

async fn send(peer: &str, request: &[u8]) -> io::Result<()> {
    match peer.split_once(':') {
        Some(("tcp", address)) => ask(TcpStream::connect(address).await?, request).await,
        Some(("unix", path)) => ask(UnixStream::connect(path).await?, request).await,
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The server closes the connection once it has acted.
async fn ask(mut server: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<()> {
    server.write_all(request).await?;
    server.read(&mut [0; 1]).await.map(drop)
}
