//! PostgreSQL for programs that log in as ever: the start-up is answered from the payload of a session, and then
//! bytes are copied both ways.
//!
//! The client belongs to this user, and has the session anyway: nothing is kept from it but what it cannot have.

mod cancel;
mod message;
mod settings;
mod start_up;

use std::io;
use std::time::Duration;

use fdbroker::Connection;
use fdbroker::adopt::postgres;
use fdbroker::adopt::postgres::message::Refusal;
use fdbroker::adopt::postgres::settings::query;
use fdbroker::adopt::postgres::startup_message::{Beginning, StartupMessage};
use fdbroker::connection::{DATABASE, USER};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::directory::Directory;
use super::program::Environment;
use super::sessions::{Session, Sessions};
use cancel::Keys;

/// The name of the protocol.
pub(super) const NAME: &str = postgres::PROTOCOL;
/// The socket that clients look for, with the port in its name.
pub(super) const SOCKET: &str = ".s.PGSQL.5432";
const PORT: &str = "5432";
/// How long a client may take for its start-up.
const START_UP: Duration = Duration::from_secs(60);
/// Variables that would lead a client elsewhere, or ask for what a log-in without password lacks.
const REMOVED: [&str; 6] =
    ["PGHOSTADDR", "PGSERVICE", "PGREQUIREPEER", "PGREQUIREAUTH", "PGCHANNELBINDING", "PGPASSWORD"];

/// Sets what leads a client of libpq to the socket.
pub(super) fn set(
    first: &Session,
    directory: &Directory,
    prefix: &str,
    environment: &mut Environment,
) {
    let text = |name| first.connection().and_then(|it| it.text(name)).unwrap_or_default();
    let name = |name: &str| format!("{prefix}{name}");
    environment.set(name("PGHOST"), directory.path());
    environment.set(name("PGPORT"), PORT);
    environment.set(name("PGUSER"), text(USER));
    environment.set(name("PGDATABASE"), text(DATABASE));
    environment.set(name("PGSSLMODE"), "disable");
    for removed in REMOVED {
        environment.remove(name(removed));
    }
}

/// What the connections to one socket share.
pub(super) struct Server {
    sessions: Sessions,
    keys: Keys,
}

impl Server {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self { sessions, keys: Keys::default() }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        match timeout(START_UP, start_up::read(&mut client)).await?? {
            // It has been declined.
            Beginning::Encryption => Ok(()),
            Beginning::Cancel(request) => self.keys.pass_on(&request).await,
            Beginning::Session(start_up) => match self.session(&start_up).await {
                Ok(session) => self.relay(client, &start_up, &session).await,
                Err(refusal) => client.write_all(&refusal.message()).await,
            },
        }
    }

    /// Gets a session, which must be the one that the client asks for.
    async fn session(&self, start_up: &StartupMessage) -> Result<Session, Refusal> {
        start_up.check()?;
        let session = self.sessions.next().await;
        let refused = |error| Refusal::no_session(format!("fdbroker: {error}"));
        let session = session.map_err(refused)?;
        let connection = session.connection().ok_or_else(no_server)?;
        start_up.check_session(connection)?;
        Ok(session)
    }

    async fn relay(
        &self,
        mut client: UnixStream,
        start_up: &StartupMessage,
        session: &Session,
    ) -> io::Result<()> {
        let Some(connection) = session.connection() else { return Ok(()) };
        let mut socket = session.socket()?;
        let _key = self.keys.register(connection);
        let said = postgres::start_up(connection).unwrap_or_default();
        client.write_all(&[start_up.negotiation(), said].concat()).await?;
        let is_ready = begin(&mut client, &mut socket, start_up, connection).await?;
        if is_ready {
            copy_bidirectional(&mut client, &mut socket).await?;
        }
        Ok(())
    }
}

/// Has the server set what the client asks for, and says that it is ready; false if the server refuses a setting.
async fn begin(
    client: &mut UnixStream,
    socket: &mut UnixStream,
    start_up: &StartupMessage,
    connection: Connection<'_>,
) -> io::Result<bool> {
    match query(&start_up.settings, connection) {
        None => client.write_all(&postgres::ready(connection)).await.map(|()| true),
        Some(query) => settings::make(&query, client, socket, connection.early()).await,
    }
}

/// What the broker has is none.
fn no_server() -> Refusal {
    let text = "fdbroker: the slot holds no connection to a PostgreSQL server";
    Refusal::no_session(text.to_owned())
}
