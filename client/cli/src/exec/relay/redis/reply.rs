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

/// Reads one reply: the words of an error, if it is one, and what the server has sent after it.
pub(super) async fn read(
    server: &mut (impl AsyncRead + Unpin),
) -> io::Result<(Option<String>, Vec<u8>)> {
    let mut reader = BufReader::new(server.take(LONGEST));
    let (mut left, mut refusal) = (1_u64, None);
    while left > 0 {
        let (kind, text) = line(&mut reader).await?;
        let number = || u64::try_from(text.parse::<i64>().unwrap_or_default()).unwrap_or_default();
        left = left.saturating_sub(1);
        match kind {
            b'*' | b'~' | b'>' => left = left.saturating_add(number()),
            b'%' => left = left.saturating_add(number().saturating_mul(2)),
            b'$' | b'=' if !text.starts_with('-') => skip(&mut reader, number()).await?,
            b'-' => refusal = Some(text),
            _ => {}
        }
    }
    Ok((refusal, reader.buffer().to_vec()))
}

/// A line: its first byte, and what is behind it.
async fn line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<(u8, String)> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).await?;
    let line = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let (kind, text) = line.split_first().ok_or(io::ErrorKind::InvalidData)?;
    Ok((*kind, String::from_utf8_lossy(text).into_owned()))
}

/// Reads a text of that length, and its end.
async fn skip(reader: &mut (impl AsyncRead + Unpin), length: u64) -> io::Result<()> {
    let length = length.saturating_add(2);
    let skipped = tokio::io::copy(&mut reader.take(length), &mut tokio::io::sink()).await?;
    if skipped < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    fn read_all(bytes: &[u8]) -> io::Result<(Option<String>, Vec<u8>)> {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut &bytes[..]))
    }

    #[test]
    fn one_reply_is_read_and_no_byte_more() {
        let reply = b"*4\r\n$6\r\nserver\r\n:3\r\n*2\r\n$-1\r\n$2\r\n\r\n\r\n%1\r\n+a\r\n_\r\n";
        assert_eq!(read_all(&[&reply[..], b"later"].concat()).unwrap(), (None, b"later".to_vec()));
        let refusal = Some("NOPERM no".to_owned());
        assert_eq!(read_all(b"-NOPERM no\r\n").unwrap(), (refusal, Vec::new()));
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
