//! Messages of a server: how one is made and taken apart, and the one that refuses a session.

use std::io;

use fdbroker_types::escape;

/// The longest message of the server that is read whole.
pub const LONGEST: usize = 1 << 16;
/// The kind and the length of a message.
const HEAD: usize = 5;

/// Why a client gets no session: an SQLSTATE, and a sentence.
#[derive(Debug)]
pub struct Refusal {
    code: &'static str,
    text: String,
}

/// A message of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Its kind.
    pub kind: u8,
    /// All of its bytes.
    pub bytes: &'a [u8],
    /// Those after it.
    pub rest: &'a [u8],
}

impl Refusal {
    /// The client asks for something that this session is not.
    #[must_use]
    pub fn other_session(text: String) -> Self {
        Self { code: "28000", text }
    }

    /// The client asks for something that cannot be done any more.
    #[must_use]
    pub fn unsupported(text: &str) -> Self {
        Self { code: "0A000", text: text.to_owned() }
    }

    /// There is no session.
    #[must_use]
    pub fn no_session(text: String) -> Self {
        Self { code: "08001", text }
    }

    /// The ErrorResponse.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let text = escape(&self.text);
        let mut body = Vec::new();
        for (field, value) in
            [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', self.code), (b'M', text.as_str())]
        {
            body.push(field);
            body.extend(value.bytes().chain([0]));
        }
        body.push(0);
        message(b'E', &body)
    }
}

/// A message: its kind, its length, its body. The bodies made here are short.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(4);
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// Takes the first message apart. `None` if it is not all there.
///
/// # Errors
/// If it is longer than [`LONGEST`], or shorter than its own length.
pub fn first(bytes: &[u8]) -> io::Result<Option<Message<'_>>> {
    let Some(([kind, length @ ..], _)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !(4..=LONGEST).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let parts = bytes.split_at_checked(length.saturating_add(1));
    Ok(parts.map(|(bytes, rest)| Message { kind: *kind, bytes, rest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_all_there() {
        let bytes = [message(b'Z', b"I"), b"later".to_vec()].concat();
        let expected = Message { kind: b'Z', bytes: b"Z\0\0\0\x05I", rest: b"later" };
        assert_eq!(first(&bytes).unwrap(), Some(expected));
        for end in 0..6 {
            assert_eq!(first(&bytes[..end]).unwrap(), None);
        }
        assert!(first(b"Z\0\0\0\x03").is_err() && first(b"Z\xff\0\0\0").is_err());
    }
}
