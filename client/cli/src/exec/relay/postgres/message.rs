//! The reading of the server's messages.

use std::io;

use fdbroker::adopt::postgres::message::LONGEST;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads one message of the server, and nothing beyond: its kind, and all of its bytes.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head).await?;
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let length = length.checked_sub(4).filter(|length| *length <= LONGEST);
    let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    from.read_exact(&mut body).await?;
    Ok((kind, [&head[..], &body].concat()))
}
