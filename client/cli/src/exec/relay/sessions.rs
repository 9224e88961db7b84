//! The sessions of a slot: each client gets one of its own from the broker.

use std::os::unix::net;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fdbroker::{Connection, Connector, Deposit, Error, Slot};
use fdbroker_types::quoted;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use crate::failure::Failure;

/// How long the first one waits for a client. It holds a place that another process may need.
const KEPT: Duration = Duration::from_secs(5);
/// How many are asked for at once. The broker opens eight at once for a user, and refuses more.
const AT_ONCE: usize = 4;

/// Where sessions come from. The first one is got before the program starts, and is that of a client that comes soon.
#[derive(Debug)]
pub(super) struct Sessions {
    connector: Connector,
    slot: Slot,
    first: Arc<Mutex<Option<Session>>>,
    asking: Semaphore,
}

/// A session that a server has begun with the broker. It ends when this is dropped: the broker may have a
/// duplicate of the socket.
#[derive(Debug)]
pub(super) struct Session(Deposit);

impl Sessions {
    /// Keeps the first one for the first client, for a while.
    pub(super) fn new(connector: Connector, slot: Slot, first: Session) -> Self {
        let first = Arc::new(Mutex::new(Some(first)));
        let kept = Arc::clone(&first);
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            drop(lock(&kept).take());
        });
        Self { connector, slot, first, asking: Semaphore::new(AT_ONCE) }
    }

    /// Looks at what the first one is, while it is there.
    pub(super) fn first_connection<T>(&self, look: impl FnOnce(Connection<'_>) -> T) -> Option<T> {
        lock(&self.first).as_ref().and_then(Session::connection).map(look)
    }

    /// Gets one for the next client.
    pub(super) async fn next(&self) -> Result<Session, Error> {
        let first = lock(&self.first).take();
        if let Some(session) = first.filter(Session::is_quiet) {
            return Ok(session);
        }
        // It is never closed, so there is always a place in the end.
        let _place = self.asking.acquire().await;
        get(&self.connector, self.slot).await
    }
}

fn lock(first: &Mutex<Option<Session>>) -> MutexGuard<'_, Option<Session>> {
    first.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gets the first one, if it speaks one of these protocols. The first of them is the one that was asked for.
pub(super) async fn first(
    connector: &Connector,
    slot: Slot,
    protocols: &[&str],
) -> Result<Session, Failure> {
    let session = get(connector, slot).await?;
    let protocol = protocols.first().copied().unwrap_or_default();
    match session.connection().map(Connection::protocol) {
        Some(spoken) if protocols.contains(&spoken) => Ok(session),
        Some(spoken) => Err(Failure::Local(format!(
            "exec: slot {slot} holds a connection that speaks {spoken}, not {protocol}",
            spoken = quoted(spoken)
        ))),
        None => Err(Failure::Local(format!(
            "exec: slot {slot} holds no connection to a server; to pass its descriptor on, \
             use another name than {protocol}"
        ))),
    }
}

/// Asks over a connection of its own.
async fn get(connector: &Connector, slot: Slot) -> Result<Session, Error> {
    let broker = connector.clone().connect_async().await?;
    broker.get(slot).await.map(Session)
}

impl Session {
    /// What it is; `None` if it is no connection.
    pub(super) fn connection(&self) -> Option<Connection<'_>> {
        self.0.connection()
    }

    /// What the broker says of it.
    pub(super) fn payload(&self) -> &[u8] {
        &self.0.payload
    }

    /// The socket, to be read and written here.
    pub(super) fn socket(&self) -> std::io::Result<UnixStream> {
        let descriptor = self.0.descriptor.as_ref().ok_or(Errno::BADF)?;
        // Nothing is done with it that depends on its family.
        let socket = net::UnixStream::from(descriptor.try_clone()?);
        socket.set_nonblocking(true)?;
        UnixStream::from_std(socket)
    }

    /// Whether the server has neither closed it nor said anything since.
    fn is_quiet(&self) -> bool {
        let Some(descriptor) = &self.0.descriptor else { return false };
        let peeked = recv(descriptor, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.is_err_and(|error| error == Errno::AGAIN)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(descriptor) = &self.0.descriptor {
            // The server may have ended it.
            let _ = shutdown(descriptor, Shutdown::Both);
        }
    }
}
