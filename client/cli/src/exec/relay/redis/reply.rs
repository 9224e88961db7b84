//! Replies: errors that the relay sends by itself, and the reading of one that the server sends.

use std::fmt::Display;
use std::io;

use fdbroker_types::escape;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// The longest reply that is read.
const LONGEST: u64 = 1 << 16;

/// An error for the client, on one line.
pub(super) fn error(code: &str, text: impl Display) -> Vec<u8> {
    format!("-{code} fdbroker: {}\r\n", escape(&text.to_string())).into_bytes()
}

/// A reply of the server's.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Reply {
    /// The words of an error, if it is one.
    pub(super) refusal: Option<String>,
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// What the server has sent after it.
    pub(super) after: Vec<u8>,
}

/// Reads one reply.
pub(super) async fn read(server: &mut (impl AsyncRead + Unpin)) -> io::Result<Reply> {
    let mut reader = BufReader::new(server.take(LONGEST));
    let (mut left, mut refusal, mut bytes) = (1_u64, None, Vec::new());
    while left > 0 {
        let (kind, text) = line(&mut reader, &mut bytes).await?;
        let number = || u64::try_from(text.parse::<i64>().unwrap_or_default()).unwrap_or_default();
        left = left.saturating_sub(1);
        match kind {
            b'*' | b'~' | b'>' => left = left.saturating_add(number()),
            b'%' => left = left.saturating_add(number().saturating_mul(2)),
            b'$' | b'=' if !text.starts_with('-') => {
                text_of(number(), &mut reader, &mut bytes).await?
            }
            b'-' => refusal = Some(text),
            _ => {}
        }
    }
    Ok(Reply { refusal, bytes, after: reader.buffer().to_vec() })
}

/// A line: its first byte, and what is behind it.
async fn line(
    reader: &mut (impl AsyncBufReadExt + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<(u8, String)> {
    let begins = bytes.len();
    reader.read_until(b'\n', bytes).await?;
    let line = bytes.get(begins..).unwrap_or_default();
    let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let (kind, text) = line.split_first().ok_or(io::ErrorKind::InvalidData)?;
    Ok((*kind, String::from_utf8_lossy(text).into_owned()))
}

/// Reads a text of that length, and its end.
async fn text_of(
    length: u64,
    reader: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let length = length.saturating_add(2);
    let read = tokio::io::copy(&mut reader.take(length), bytes).await?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    fn read_all(bytes: &[u8]) -> io::Result<Reply> {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut &bytes[..]))
    }

    #[test]
    fn one_reply_is_read_and_no_byte_more() {
        let reply = b"*4\r\n$6\r\nserver\r\n:3\r\n*2\r\n$-1\r\n$2\r\n\r\n\r\n%1\r\n+a\r\n_\r\n";
        let whole = Reply { refusal: None, bytes: reply.to_vec(), after: b"later".to_vec() };
        assert_eq!(read_all(&[&reply[..], b"later"].concat()).unwrap(), whole);
        let refused = read_all(b"-NOPERM no\r\n").unwrap();
        assert_eq!(refused.refusal.as_deref(), Some("NOPERM no"));
        assert_eq!((&*refused.bytes, &*refused.after), (&b"-NOPERM no\r\n"[..], &b""[..]));
    }

    #[test]
    fn a_reply_that_does_not_end_is_an_error() {
        for cut in [&b""[..], b"*2\r\n+a\r\n", b"$9\r\nshort\r\n", b"+no end"] {
            assert!(read_all(cut).is_err(), "{}", String::from_utf8_lossy(cut));
        }
        let flood = b"*99999999\r\n".iter().copied().chain(b"+a\r\n".repeat(1 << 15));
        assert!(read_all(&flood.collect::<Vec<_>>()).is_err());
    }
}
