//! What a client asks a proxy for (RFC 9110, CONNECT), and what it is answered.

use std::io;

use fdbroker_types::escape;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::exec::relay::no_session::NoSession;
use crate::exec::relay::proxied::Asked;

/// The longest head of a request.
const LONGEST: usize = 16 * 1024;
/// The end of a head.
const END: &[u8] = b"\r\n\r\n";
/// The answer to a client that gets its connection.
pub(super) const CONNECTED: &str = "HTTP/1.1 200 Connected\r\n\r\n";

/// Why a client gets no connection: a status, and a sentence.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Answer {
    status: &'static str,
    text: String,
}

impl Answer {
    fn malformed() -> Self {
        Self { status: "400 Bad Request", text: "this is no request of HTTP/1.1".to_owned() }
    }

    fn other_method() -> Self {
        let text = "only CONNECT is served, as for https; no page is fetched for http";
        Self { status: "405 Method Not Allowed", text: text.to_owned() }
    }

    /// The session leads elsewhere.
    pub(super) fn other_server() -> Self {
        let text = "the session does not lead to this server";
        Self { status: "403 Forbidden", text: text.to_owned() }
    }

    /// The broker has none.
    pub(super) fn no_session(error: &NoSession) -> Self {
        Self { status: "502 Bad Gateway", text: error.to_string() }
    }

    /// The answer.
    pub(super) fn message(&self) -> Vec<u8> {
        let text = format!("fdbroker: {}\n", escape(&self.text));
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             Allow: CONNECT\r\nConnection: close\r\n\r\n{text}",
            status = self.status,
            length = text.len()
        )
        .into_bytes()
    }
}

/// Reads a request.
pub(super) async fn read(
    client: &mut (impl AsyncRead + Unpin),
) -> io::Result<Result<Asked, Answer>> {
    let mut said = Vec::new();
    loop {
        if let Some(at) = said.windows(END.len()).position(|part| part == END) {
            let (head, rest) = said.split_at_checked(at).unwrap_or_default();
            let rest = rest.strip_prefix(END).unwrap_or_default().to_vec();
            return Ok(target(head).map(|target| Asked { target, rest }));
        }
        if said.len() >= LONGEST {
            return Ok(Err(Answer::malformed()));
        }
        if client.read_buf(&mut said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The server that the first line names.
fn target(head: &[u8]) -> Result<String, Answer> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = str::from_utf8(line).map_err(|_| Answer::malformed())?;
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("CONNECT"), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) => {
            Ok(target.to_owned())
        }
        (Some(_), Some(_), Some("HTTP/1.1" | "HTTP/1.0"), None) => Err(Answer::other_method()),
        _ => Err(Answer::malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    fn asked(said: &str) -> io::Result<Result<Asked, Answer>> {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut said.as_bytes()))
    }

    #[test]
    fn a_server_is_asked_for_by_connect() {
        let said = "CONNECT example.net:443 HTTP/1.1\r\nHost: example.net:443\r\n\r\nhello";
        let request = asked(said).unwrap().unwrap();
        assert_eq!(request.target, "example.net:443");
        assert_eq!(request.rest, b"hello");
        assert_eq!(asked("CONNECT a:1 HTTP/1.0\r\n\r\n").unwrap().unwrap().target, "a:1");
    }

    #[test]
    fn other_requests_are_refused() {
        let status = |said: &str| asked(said).unwrap().unwrap_err().status;
        assert!(status("GET http://example.net/ HTTP/1.1\r\n\r\n").starts_with("405"));
        for said in ["CONNECT a:1\r\n\r\n", "CONNECT a:1 HTTP/2\r\n\r\n", "\r\n\r\n"] {
            assert!(status(said).starts_with("400"), "{said}");
        }
        assert!(status(&"x".repeat(2 * LONGEST)).starts_with("400"));
        assert!(asked("CONNECT a:1 HTTP/1.1\r\n").is_err());
    }

    #[test]
    fn a_refusal_says_why_in_its_body() {
        let message = String::from_utf8(Answer::other_server().message()).unwrap();
        assert!(message.starts_with("HTTP/1.1 403 Forbidden\r\n"));
        assert!(message.ends_with("\r\n\r\nfdbroker: the session does not lead to this server\n"));
        assert!(message.contains("\r\nContent-Length: 51\r\n"), "{message}");
    }
}
