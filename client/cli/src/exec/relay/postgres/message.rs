//! Messages that the relay sends by itself, and the reading of the server's.

use std::io;

use fdbroker::Error;
use fdbroker_types::escape;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest message of the server that is read whole.
const LONGEST: usize = 1 << 16;

/// Why a client gets no session: an SQLSTATE, and a sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    code: &'static str,
    text: String,
}

impl Refusal {
    /// The client asks for something that this session is not.
    pub(super) fn other_session(text: String) -> Self {
        Self { code: "28000", text }
    }

    /// The client asks for something that cannot be done any more.
    pub(super) fn unsupported(text: &str) -> Self {
        Self { code: "0A000", text: text.to_owned() }
    }

    /// The broker has none.
    pub(super) fn no_session(error: &Error) -> Self {
        Self { code: "08001", text: format!("fdbroker: {error}") }
    }

    /// What the broker has is none.
    pub(super) fn no_server() -> Self {
        let text = "fdbroker: the slot holds no connection to a PostgreSQL server";
        Self { code: "08001", text: text.to_owned() }
    }

    /// The ErrorResponse.
    pub(super) fn message(&self) -> Vec<u8> {
        let text = escape(&self.text).to_string();
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
pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(4);
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

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
