//! What a client sets by its start-up, such as application_name: the server is asked to set it now.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::message;

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
