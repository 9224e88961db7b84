//! The start-up of a client: what it says first, and what it and the server are told until the session is open.

use std::io;

use fdbroker::adopt::postgres::exchange::{Exchange, Phase};
use fdbroker::adopt::postgres::message::Refusal;
use fdbroker::adopt::postgres::opening::Opening;
use fdbroker::adopt::postgres::startup_message::Beginning;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How much is read at once.
const CHUNK: usize = 4096;

/// Reads what a client wants, and what it has sent after that. Encryption is declined: the socket leaves this machine
/// no more than the program does.
pub(super) async fn read(client: &mut UnixStream) -> io::Result<(Beginning, Vec<u8>)> {
    let (mut opening, mut to_client) = (Opening::default(), Vec::new());
    loop {
        let said = chunk(client).await?;
        match opening.client_says(&said, &mut to_client) {
            Ok(wanted) => {
                client.write_all(&std::mem::take(&mut to_client)).await?;
                if let Some(wanted) = wanted {
                    return Ok(wanted);
                }
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::Unsupported {
                    client.write_all(&unsupported().message()).await?;
                }
                return Err(error);
            }
        }
    }
}

fn unsupported() -> Refusal {
    Refusal::unsupported("fdbroker: only version 3 of the protocol can be relayed")
}

/// Has the server set what the client asks for, and tells the client that the session is open; false if it is refused.
pub(super) async fn finish(
    exchange: &mut Exchange,
    client: &mut UnixStream,
    server: &mut UnixStream,
) -> io::Result<bool> {
    loop {
        client.write_all(&std::mem::take(&mut exchange.to_client)).await?;
        server.write_all(&std::mem::take(&mut exchange.to_server)).await?;
        match exchange.phase {
            Phase::Open => return Ok(true),
            Phase::Refused => return Ok(false),
            Phase::Begins | Phase::Sets => exchange.server_says(&chunk(server).await?)?,
        }
    }
}

/// Reads what there is.
async fn chunk(from: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK);
    match from.read_buf(&mut bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(bytes),
    }
}
