//! Redis for programs that connect as ever: the session is logged in, so the relay answers AUTH by itself, and then
//! bytes are copied both ways.
//!
//! The client belongs to this user, and has the session anyway: nothing is kept from it but what it cannot have.

mod command;
mod reply;

use std::io;

use fdbroker::Connection;
use fdbroker::connection::USER;
use fdbroker_types::quoted;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::both_ways;
use super::directory::Directory;
use super::program::Environment;
use super::session::Session;
use super::sessions::Sessions;
use super::start_up::in_time;
use super::url;
use command::First;

/// The name of the protocol.
pub(super) const NAME: &str = "redis";
/// The name of the socket.
pub(super) const SOCKET: &str = "redis.sock";
/// Programs that read none of the variables below: the socket is behind `-s`.
pub(super) const BLIND_PROGRAMS: [&str; 4] =
    ["redis-cli", "redis-benchmark", "valkey-cli", "valkey-benchmark"];
/// The name of a log-in that names nobody.
const DEFAULT_USER: &str = "default";
/// Of a server that has HELLO, and has answered it: RESP3.
const NEW: Option<&str> = Some("3");

/// Sets what leads a client to the socket. Redis has no variables of its own for that.
pub(super) fn set(directory: &Directory, prefix: &str, environment: &mut Environment) {
    let socket = directory.join(SOCKET);
    environment.set(format!("{prefix}REDIS_URL"), url::with_path("unix://", &socket));
    environment.set(format!("{prefix}REDIS_SOCKET"), socket);
    environment.remove(format!("{prefix}REDISCLI_AUTH"));
}

/// What the connections to one socket share.
pub(super) struct Server(Sessions);

impl Server {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self(sessions)
    }

    /// Serves one connection to its end. A client that says nothing takes no session.
    pub(super) async fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let mut said = Vec::with_capacity(command::LONGEST);
        if client.read_buf(&mut said).await? == 0 {
            return Ok(());
        }
        let session = match self.0.next().await {
            Ok(session) => session,
            Err(error) => return client.write_all(&reply::error("ERR", &error)).await,
        };
        match session.connection() {
            Some(connection) => relay(client, &session, connection, said).await,
            None => client.write_all(&reply::error("ERR", "the slot holds no connection")).await,
        }
    }
}

async fn relay(
    mut client: UnixStream,
    session: &Session,
    connection: Connection<'_>,
    said: Vec<u8>,
) -> io::Result<()> {
    let mut socket = session.socket()?;
    client.write_all(connection.early()).await?;
    let has_hello = connection.parameter("proto") == NEW;
    // A new connection to a server begins with RESP2, and most clients count on that.
    if has_hello {
        in_time(switch(&mut client, &mut socket)).await?;
    }
    if lead(&mut client, &mut socket, connection, said).await? {
        both_ways::copy(client, socket).await?;
    }
    Ok(())
}

/// Has the server speak RESP2.
async fn switch(client: &mut UnixStream, socket: &mut UnixStream) -> io::Result<()> {
    socket.write_all(&command::command(&[b"HELLO", b"2"])).await?;
    let reply = reply::read(socket).await?;
    match reply.refusal {
        None => client.write_all(&reply.after).await,
        Some(words) => {
            let text = format!("the server does not switch to RESP2: {}", quoted(&words));
            client.write_all(&reply::error("ERR", text)).await?;
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

/// Answers what a client logs in with, and sends the server its first other command. False if it has left before.
async fn lead(
    client: &mut UnixStream,
    socket: &mut UnixStream,
    connection: Connection<'_>,
    mut said: Vec<u8>,
) -> io::Result<bool> {
    let has_hello = connection.parameter("proto") == NEW;
    loop {
        match command::first(&said) {
            First::Incomplete if more(client, &mut said).await? == 0 => return Ok(false),
            First::Incomplete => {}
            First::Auth { user, length } => {
                client.write_all(&log_in(user.as_deref(), connection)).await?;
                said.drain(..length);
            }
            First::Hello { user, rest, length } if has_hello => {
                said.drain(..length);
                match user.and_then(|user| other_user(&user, connection)) {
                    Some(refusal) => client.write_all(&refusal).await?,
                    // The answers to a log-in that follows come after the server's to this.
                    None => in_time(pass_on(&rest, client, socket)).await?,
                }
            }
            First::Hello { length, .. } => {
                client.write_all(b"-ERR unknown command 'HELLO'\r\n").await?;
                said.drain(..length);
            }
            First::Other => return socket.write_all(&said).await.map(|()| true),
        }
    }
}

/// Has the server answer one command.
async fn pass_on(
    command: &[u8],
    client: &mut UnixStream,
    socket: &mut UnixStream,
) -> io::Result<()> {
    socket.write_all(command).await?;
    let reply = reply::read(socket).await?;
    client.write_all(&[reply.bytes, reply.after].concat()).await
}

/// Reads more of what the client says. What it has begun, it must go on with.
async fn more(client: &mut UnixStream, said: &mut Vec<u8>) -> io::Result<usize> {
    if said.is_empty() {
        return client.read_buf(said).await;
    }
    in_time(client.read_buf(said)).await
}

/// The answer to AUTH: no password is looked at.
fn log_in(user: Option<&[u8]>, connection: Connection<'_>) -> Vec<u8> {
    user.and_then(|user| other_user(user, connection)).unwrap_or_else(|| b"+OK\r\n".to_vec())
}

/// The refusal of a log-in as somebody else than the session's user.
fn other_user(asked: &[u8], connection: Connection<'_>) -> Option<Vec<u8>> {
    let found = connection.text(USER).unwrap_or(DEFAULT_USER);
    let asked = String::from_utf8_lossy(asked);
    (asked != found).then(|| {
        let (found, asked) = (quoted(found), quoted(asked.as_ref()));
        reply::error("WRONGPASS", format!("the session is that of user {found}, not of {asked}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker::connection::ConnectionWriter;

    #[test]
    fn a_log_in_is_answered_if_it_is_that_of_the_session() {
        let mut writer = ConnectionWriter::new(NAME).unwrap();
        writer.add(USER, "orders").unwrap();
        let payload = writer.finish();
        let connection = Connection::parse(&payload).unwrap();
        assert_eq!(log_in(None, connection), b"+OK\r\n");
        assert_eq!(log_in(Some(b"orders"), connection), b"+OK\r\n");
        let refusal = log_in(Some(b"e\r\nve"), connection);
        let text =
            "-WRONGPASS fdbroker: the session is that of user \"orders\", not of \"e\\r\\nve\"\r\n";
        assert_eq!(String::from_utf8(refusal).unwrap(), text);
    }
}
