//! MySQL and MariaDB for programs that log in as ever: the relay greets a client as the server of a session that is
//! logged in, and then bytes are copied both ways.
//!
//! The client belongs to this user, and has the session anyway: nothing is kept from it but what it cannot have.

mod flags;
mod greeting;
mod packet;
mod response;
mod settings;

use std::fs;
use std::io;

use fdbroker::Connection;
use fdbroker::connection::{DATABASE, USER};
use fdbroker_types::quoted;
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
use packet::packet;
use response::Response;

/// The name of the protocol.
pub(super) const NAME: &str = "mysql";
/// The name of the socket.
pub(super) const SOCKET: &str = "mysql.sock";
/// The file of options that clients read in MYSQL_HOME.
const OPTIONS: &str = "my.cnf";
/// Variables that would lead a client elsewhere, or hold a password.
const REMOVED: [&str; 3] = ["MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_PWD"];

/// Sets what leads a client to the socket, and writes the file of options that names the user.
pub(super) fn set(
    first: &Session,
    directory: &Directory,
    prefix: &str,
    environment: &mut Environment,
) -> Result<(), Failure> {
    let text = |name| first.connection().and_then(|it| it.text(name)).unwrap_or_default();
    let name = |name: &str| format!("{prefix}{name}");
    let (socket, options) = (directory.join(SOCKET), directory.join(OPTIONS));
    let user = checked("user", checked("user", text(USER), Place::Variable)?, Place::Quotes)?;
    let database = checked("database", text(DATABASE), Place::Variable)?;
    let path = socket.to_string_lossy();
    let path = checked("path", &path, Place::Quotes)?;
    let [name_of_user, path] = [user, path].map(|text| text.replace('\\', "\\\\"));
    let content = format!("[client]\nuser=\"{name_of_user}\"\nsocket=\"{path}\"\n");
    fs::write(&options, content).map_err(|error| {
        let options = quoted(&options);
        Failure::local(format_args!("exec: cannot write {options}"), error)
    })?;
    environment.set(name("MYSQL_HOME"), directory.path());
    environment.set(name("MYSQL_UNIX_PORT"), socket);
    environment.set(name("MYSQL_USER"), user);
    environment.set(name("MYSQL_DATABASE"), database);
    for removed in REMOVED {
        environment.remove(name(removed));
    }
    Ok(())
}

/// What the connections to one socket share.
pub(super) struct Server(Sessions);

impl Server {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self(sessions)
    }

    /// Serves one connection to its end. The server speaks first, so a client has its session at once.
    pub(super) async fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let refusal = match self.0.next().await {
            Ok(session) => match session.connection() {
                Some(connection) => return relay(client, &session, connection).await,
                None => packet::error_at_once("the slot holds no connection"),
            },
            Err(error) => packet::error_at_once(error),
        };
        client.write_all(&packet(0, &refusal)).await
    }
}

async fn relay(
    mut client: UnixStream,
    session: &Session,
    connection: Connection<'_>,
) -> io::Result<()> {
    let mut socket = session.socket()?;
    if in_time(log_in(&mut client, &mut socket, connection)).await? {
        client.write_all(connection.early()).await?;
        both_ways::copy(client, socket).await?;
    }
    Ok(())
}

/// Greets the client, and accepts it if the session is what it asks for; false if it is not.
async fn log_in(
    client: &mut UnixStream,
    socket: &mut UnixStream,
    connection: Connection<'_>,
) -> io::Result<bool> {
    client.write_all(&packet(0, &greeting::greeting(connection))).await?;
    let (number, body) = packet::read(client).await?;
    let outcome = match Response::parse(&body, greeting::offered(connection)) {
        None => {
            Err(packet::error(packet::UNKNOWN, "the client's answer to the greeting is not valid"))
        }
        Some(response) => match response.check(connection) {
            Ok(()) => settings::make(&response, socket, connection).await?,
            Err(refusal) => Err(refusal),
        },
    };
    let is_accepted = outcome.is_ok();
    let body =
        outcome.map_or_else(|refusal| refusal, |()| packet::ok(greeting::status(connection)));
    client.write_all(&packet(number.wrapping_add(1), &body)).await?;
    Ok(is_accepted)
}
