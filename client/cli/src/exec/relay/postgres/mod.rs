//! PostgreSQL for programs that log in as ever: the start-up is answered from the payload of a session, and then
//! bytes are copied both ways.
//!
//! The client belongs to this user, and has the session anyway: nothing is kept from it but what it cannot have.

mod cancel;
mod start_up;

use std::io;

use fdbroker::adopt::postgres;
use fdbroker::adopt::postgres::exchange::Exchange;
use fdbroker::adopt::postgres::message::Refusal;
use fdbroker::adopt::postgres::startup_message::{Beginning, StartupMessage};
use fdbroker::connection::{DATABASE, USER};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::both_ways;
use super::contents::{Place, checked};
use super::directory::Directory;
use super::program::Environment;
use super::session::Session;
use super::sessions::Sessions;
use super::start_up::in_time;
use crate::failure::Failure;
use cancel::Keys;

/// The name of the protocol.
pub(super) const NAME: &str = postgres::PROTOCOL;
/// The socket that clients look for, with the port in its name.
pub(super) const SOCKET: &str = ".s.PGSQL.5432";
const PORT: &str = "5432";
/// Variables that would lead a client elsewhere, or ask for what a log-in without password lacks.
const REMOVED: [&str; 6] =
    ["PGHOSTADDR", "PGSERVICE", "PGREQUIREPEER", "PGREQUIREAUTH", "PGCHANNELBINDING", "PGPASSWORD"];

/// Sets what leads a client of libpq to the socket.
pub(super) fn set(
    first: &Session,
    directory: &Directory,
    prefix: &str,
    environment: &mut Environment,
) -> Result<(), Failure> {
    let text = |name| first.connection().and_then(|it| it.text(name)).unwrap_or_default();
    let name = |name: &str| format!("{prefix}{name}");
    let user = checked("user", text(USER), Place::Variable)?;
    let database = checked("database", text(DATABASE), Place::ConnectionString)?;
    environment.set(name("PGHOST"), directory.path());
    environment.set(name("PGPORT"), PORT);
    environment.set(name("PGUSER"), user);
    environment.set(name("PGDATABASE"), database);
    environment.set(name("PGSSLMODE"), "disable");
    for removed in REMOVED {
        environment.remove(name(removed));
    }
    Ok(())
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
        match in_time(start_up::read(&mut client)).await? {
            // It has been declined.
            (Beginning::Encryption, _) => Ok(()),
            (Beginning::Cancel(request), _) => self.keys.pass_on(&request).await,
            (Beginning::Session(start_up), rest) => match self.session(&start_up).await {
                Ok(session) => self.relay(client, &start_up, rest, &session).await,
                Err(refusal) => client.write_all(&refusal.message()).await,
            },
        }
    }

    /// Gets a session, once the client asks for one that there can be.
    async fn session(&self, start_up: &StartupMessage) -> Result<Session, Refusal> {
        start_up.check()?;
        let refused = |error| Refusal::no_session(format!("fdbroker: {error}"));
        self.sessions.next().await.map_err(refused)
    }

    async fn relay(
        &self,
        mut client: UnixStream,
        start_up: &StartupMessage,
        rest: Vec<u8>,
        session: &Session,
    ) -> io::Result<()> {
        let Some(connection) = session.connection().filter(|it| it.protocol() == NAME) else {
            return client.write_all(&no_server().message()).await;
        };
        let mut socket = session.socket()?;
        let _key = self.keys.register(connection, session.server());
        let mut exchange = Exchange::begun(session.payload().to_vec(), start_up, rest);
        if in_time(start_up::finish(&mut exchange, &mut client, &mut socket)).await? {
            both_ways::copy(client, socket).await?;
        }
        Ok(())
    }
}

/// What the broker has is none.
fn no_server() -> Refusal {
    let text = "fdbroker: the slot holds no connection to a PostgreSQL server";
    Refusal::no_session(text.to_owned())
}
