//! What a client sets by its start-up, such as application_name: the server is asked to set it now.

use std::io;

use fdbroker::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::message::{self, message};

/// The query that sets what the server does not report already; `None` if nothing is left.
pub(super) fn query(settings: &[(String, String)], connection: Connection<'_>) -> Option<Vec<u8>> {
    let differs =
        |(name, value): &&(String, String)| connection.parameter(name) != Some(value.as_str());
    let calls: Vec<String> = settings.iter().filter(differs).map(call).collect();
    let text = format!("SELECT {}\0", calls.join(", "));
    (!calls.is_empty()).then(|| message(b'Q', text.as_bytes()))
}

fn call((name, value): &(String, String)) -> String {
    format!("pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
}

/// A string that means the same whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Asks the query. Of the answer, the client gets the parameters, the notices and the end. Returns whether the
/// server has set all; the client has the server's error if not.
pub(super) async fn make(
    query: &[u8],
    client: &mut UnixStream,
    socket: &mut UnixStream,
    early: &[u8],
) -> io::Result<bool> {
    socket.write_all(query).await?;
    let mut server = early.chain(socket);
    loop {
        let (kind, bytes) = message::read(&mut server).await?;
        if matches!(kind, b'S' | b'N' | b'E' | b'Z') {
            client.write_all(&bytes).await?;
        }
        match kind {
            b'E' => return Ok(false),
            b'Z' => break,
            _ => {}
        }
    }
    let (rest, _) = server.into_inner();
    client.write_all(rest).await.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker::connection::ConnectionWriter;

    #[test]
    fn only_what_differs_is_set_and_quoted() {
        let mut writer = ConnectionWriter::new("postgres").unwrap();
        writer.add("parameter.client_encoding", "UTF8").unwrap();
        let payload = writer.finish();
        let connection = Connection::parse(&payload).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let same = pair("client_encoding", "UTF8");
        assert_eq!(query(std::slice::from_ref(&same), connection), None);
        let asked = query(&[same, pair("application_name", "it's \\ me")], connection).unwrap();
        let text = "SELECT pg_catalog.set_config(E'application_name', E'it''s \\\\ me', false)\0";
        assert_eq!(asked, message(b'Q', text.as_bytes()));
    }
}
