//! The sessions of a slot: each client gets one of its own from the broker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fdbroker::Connection;
use fdbroker_types::quoted;
use tokio::sync::Semaphore;

use super::no_session::NoSession;
use super::session::Session;
use super::source::Source;
use crate::failure::Failure;

/// How long the first one waits for a client. It holds a place that another process may need.
const KEPT: Duration = Duration::from_secs(5);
/// How many are asked for at once. The broker opens eight at once for a user, and refuses more.
const AT_ONCE: usize = 4;

/// Where sessions come from. The first one is got before the program starts, and is that of a client that comes soon.
#[derive(Debug)]
pub(super) struct Sessions {
    source: Source,
    first: Arc<Mutex<Option<Session>>>,
    asking: Semaphore,
}

impl Sessions {
    /// Keeps the first one for the first client, for a while.
    pub(super) fn new(source: Source, first: Session) -> Self {
        let first = Arc::new(Mutex::new(Some(first)));
        let kept = Arc::clone(&first);
        tokio::spawn(async move {
            tokio::time::sleep(KEPT).await;
            drop(lock(&kept).take());
        });
        Self { source, first, asking: Semaphore::new(AT_ONCE) }
    }

    /// Looks at what the first one is, while it is there.
    pub(super) fn first_connection<T>(&self, look: impl FnOnce(Connection<'_>) -> T) -> Option<T> {
        lock(&self.first).as_ref().and_then(Session::connection).map(look)
    }

    /// Gets one for the next client.
    pub(super) async fn next(&self) -> Result<Session, NoSession> {
        let first = lock(&self.first).take();
        if let Some(session) = first.filter(Session::is_quiet) {
            return Ok(session);
        }
        // It is never closed, so there is always a place in the end.
        let _place = self.asking.acquire().await;
        self.source.get().await
    }
}

fn lock(first: &Mutex<Option<Session>>) -> MutexGuard<'_, Option<Session>> {
    first.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gets the first one, if it speaks one of these protocols. The first of them is the one that was asked for.
pub(super) async fn first(source: &Source, protocols: &[&str]) -> Result<Session, Failure> {
    let session = source.get().await?;
    let slot = source.slot;
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
