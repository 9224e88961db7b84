//! Packets: a length, a number that counts those of both sides, and a body.

use std::fmt::Display;
use std::io;

use fdbroker_types::escape;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest packet that is read whole.
const LONGEST: usize = 1 << 16;
/// The first byte of the body that says so.
const OK: u8 = 0;
/// The first byte of the body of an error.
pub(super) const ERROR: u8 = 0xff;
/// The number of an error that has none of its own (ER_UNKNOWN_ERROR), and its state.
pub(super) const UNKNOWN: (u16, &str) = (1105, "HY000");

/// Reads a packet, and nothing beyond: its number, and its body.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let [low, middle, high, number] = head;
    let length = u32::from_le_bytes([low, middle, high, 0]);
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST);
    let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    from.read_exact(&mut body).await?;
    Ok((number, body))
}

/// A packet. The bodies made here are short.
pub(super) fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let [low, middle, high, _] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&[low, middle, high, number], body].concat()
}

/// The body that accepts a log-in: no row is changed, and there are no warnings.
pub(super) fn ok(status: u16) -> Vec<u8> {
    [&[OK, 0, 0][..], &status.to_le_bytes(), &[0, 0]].concat()
}

/// The body of an error.
pub(super) fn error((number, state): (u16, &str), text: impl Display) -> Vec<u8> {
    let text = format!("#{state}fdbroker: {}", escape(&text.to_string()));
    [&[ERROR][..], &number.to_le_bytes(), text.as_bytes()].concat()
}

/// The body of an error in place of a greeting, which has no state.
pub(super) fn error_at_once(text: impl Display) -> Vec<u8> {
    let text = format!("fdbroker: {}", escape(&text.to_string()));
    [&[ERROR][..], &UNKNOWN.0.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    #[test]
    fn a_packet_is_read_as_it_was_made() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let bytes = [packet(2, &ok(2)), b"later".to_vec()].concat();
        let mut rest = &bytes[..];
        let read_one = |rest: &mut &[u8]| runtime.block_on(read(rest));
        assert_eq!(read_one(&mut rest).unwrap(), (2, b"\0\0\0\x02\0\0\0".to_vec()));
        assert_eq!(rest, b"later");
        assert!(read_one(&mut &b"\x01\0\0\0"[..]).is_err());
        assert!(read_one(&mut &[0xff; 8][..]).is_err());
    }

    #[test]
    fn an_error_has_its_number_its_state_and_its_words() {
        assert_eq!(error((1045, "28000"), "no\n"), b"\xff\x15\x04#28000fdbroker: no\\n");
    }
}
