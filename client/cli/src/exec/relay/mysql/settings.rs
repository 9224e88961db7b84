//! What a client wants of its session at the log-in: the server is asked to set it now.

use std::io;

use fdbroker::Connection;
use fdbroker::connection::DATABASE;
use fdbroker_types::quoted;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::packet::{self, ERROR, packet};
use super::response::Response;

/// The commands that are asked: COM_INIT_DB, COM_QUERY, and COM_SET_OPTION with several statements.
const INIT_DB: u8 = 2;
const QUERY: u8 = 3;
const MANY_STATEMENTS: [u8; 3] = [0x1b, 0, 0];
/// Of a character set that nobody knows.
const NO_CHARSET: (u16, &str) = (1115, "42000");

/// Has the server set it all. Returns the body of an error, if it does not.
pub(super) async fn make(
    response: &Response,
    socket: &mut UnixStream,
    connection: Connection<'_>,
) -> io::Result<Result<(), Vec<u8>>> {
    let commands = match commands(response, connection) {
        Ok(commands) => commands,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for command in commands {
        socket.write_all(&packet(0, &command)).await?;
        let (_, answer) = packet::read(socket).await?;
        if answer.first() == Some(&ERROR) {
            return Ok(Err(answer));
        }
    }
    Ok(Ok(()))
}

fn commands(response: &Response, connection: Connection<'_>) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut commands = Vec::new();
    let other = |name: &&String| connection.text(DATABASE) != Some(name.as_str());
    if let Some(database) = response.database.as_ref().filter(other) {
        commands.push([&[INIT_DB], database.as_bytes()].concat());
    }
    if response.has_many_statements() {
        commands.push(MANY_STATEMENTS.to_vec());
    }
    let Some(charset) = charset(response.charset) else {
        let text =
            format!("no character set {} is known here", quoted(&response.charset.to_string()));
        return Err(packet::error(NO_CHARSET, text));
    };
    if charset != UTF8 {
        commands.push([&[QUERY], format!("SET NAMES {charset}").as_bytes()].concat());
    }
    Ok(commands)
}

/// The character set of the broker's sessions.
const UTF8: &str = "utf8mb4";

/// The name of a character set, by the number of one of its collations. Only those that clients log in with are
/// known; 0 leaves it to the server.
fn charset(number: u8) -> Option<&'static str> {
    match number {
        0 | 45 | 46 | 224..=247 | 255 => Some(UTF8),
        5 | 8 | 15 | 31 | 47..=49 | 94 => Some("latin1"),
        11 | 65 => Some("ascii"),
        33 | 83 | 192..=215 | 223 => Some("utf8"),
        63 => Some("binary"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_sets_of_clients_are_known() {
        assert_eq!(
            [45, 255, 8, 33, 63].map(charset),
            [Some("utf8mb4"), Some("utf8mb4"), Some("latin1"), Some("utf8"), Some("binary"),]
        );
        assert_eq!(charset(1), None);
    }
}
