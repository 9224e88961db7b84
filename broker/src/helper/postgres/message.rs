//! Messages of PostgreSQL's protocol: a type, a length that counts itself, and a body.

use std::ops::Range;

use super::misspoken::{malformed, too_long};
use crate::helper::answer::Failure;
use crate::helper::stream::Stream;

/// A message that was received.
pub(super) struct Message {
    pub(super) kind: u8,
    /// Where its body is in the stream.
    pub(super) body: Range<usize>,
}

/// The size of a length, which counts itself.
const LENGTH: usize = 4;
/// The longest body of a message before the log-in is over. Servers send far less, and other protocols' bytes read as a
/// length are mostly far more.
const LONGEST: usize = 30_000;
/// Protocol 3.0.
const VERSION: u32 = 3 << 16;

impl Message {
    /// Takes the next message. Its length is checked before any of its body is waited for.
    ///
    /// # Errors
    /// If none comes, or it is too long.
    pub(super) fn take(stream: &mut Stream<'_>) -> Result<Self, Failure> {
        let head = stream.take(1 + LENGTH)?;
        let head: [u8; 1 + LENGTH] = stream.bytes(head).try_into().unwrap_or_default();
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let length = length.checked_sub(LENGTH).ok_or_else(|| malformed("first"))?;
        if length > LONGEST {
            return Err(too_long(kind, length));
        }
        Ok(Self { kind, body: stream.take(length)? })
    }
}

/// Returns the first message of a client.
pub(super) fn start_up(user: &str, database: &str) -> Vec<u8> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for text in ["user", user, "database", database] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    [&length(&body)[..], &body].concat()
}

/// Returns a message that answers a question of the authentication.
pub(super) fn response(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [b"p", &length(&body)[..], &body].concat()
}

fn length(body: &[u8]) -> [u8; LENGTH] {
    u32::try_from(LENGTH + body.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Returns two texts that end with a NUL each, if a body is exactly these.
pub(super) fn two_texts(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = body.split(|byte| *byte == 0);
    let texts = (parts.next()?, parts.next()?);
    let ends = parts.next() == Some(&[]) && parts.next().is_none();
    ends.then_some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_up_message_has_its_length_its_version_and_its_names() {
        let expected = b"\0\0\0\x1d\0\x03\0\0user\0me\0database\0db\0\0";
        let bytes = start_up("me", "db");
        assert_eq!(bytes.len(), usize::from(expected[3]));
        assert_eq!(bytes, expected);
    }

    #[test]
    fn two_texts_are_exactly_two() {
        assert_eq!(two_texts(b"a\0bc\0"), Some((&b"a"[..], &b"bc"[..])));
        assert_eq!(two_texts(b"\0\0"), Some((&b""[..], &b""[..])));
        for body in [&b""[..], b"a", b"a\0", b"a\0b", b"a\0b\0c", b"a\0b\0\0"] {
            assert_eq!(two_texts(body), None, "{body:?}");
        }
    }
}
