//! What a client begins with: requests for encryption, then a StartupMessage or a CancelRequest.

use std::io;

use fdbroker::adopt::postgres::message::Refusal;
use fdbroker::adopt::postgres::startup_message::{ATTEMPTS, Beginning, LONGEST};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Reads it. Encryption is declined: the socket leaves this machine no more than the program does.
pub(super) async fn read(client: &mut UnixStream) -> io::Result<Beginning> {
    for _ in 0..ATTEMPTS {
        let length = usize::try_from(client.read_u32().await?).unwrap_or(usize::MAX);
        let length = length.checked_sub(8).filter(|length| *length <= LONGEST);
        let code = client.read_u32().await?;
        let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
        client.read_exact(&mut body).await?;
        match Beginning::parse(code, &body) {
            Some(Beginning::Encryption) => client.write_all(b"N").await?,
            Some(other) => return Ok(other),
            None => break,
        }
    }
    let refusal = Refusal::unsupported("fdbroker: only version 3 of the protocol can be relayed");
    client.write_all(&refusal.message()).await?;
    Err(io::ErrorKind::Unsupported.into())
}
