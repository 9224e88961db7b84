//! A PostgreSQL session whose log-in is over: the server's part of the start-up, made from the payload.
//!
//! [`start_up`] and [`ready`] together are what a server sends after a StartupMessage that needs no password.

use fdbroker_wire::Connection;
use fdbroker_wire::connection::{BACKEND_KEY, BACKEND_PID, PARAMETER};

/// The protocol of such a payload.
pub const PROTOCOL: &str = "postgres";
/// AuthenticationOk.
const AUTHENTICATED: [u8; 4] = [0; 4];

/// Returns the server's messages up to the state of the session: AuthenticationOk, each ParameterStatus, and
/// BackendKeyData. `None` if the payload is of another protocol.
#[must_use]
pub fn start_up(connection: Connection<'_>) -> Option<Vec<u8>> {
    if connection.protocol() != PROTOCOL {
        return None;
    }
    let mut messages = Vec::new();
    push(&mut messages, b'R', &[&AUTHENTICATED])?;
    for (name, value) in connection.fields() {
        if let Some(name) = name.strip_prefix(PARAMETER).filter(|_| !value.contains(&0)) {
            push(&mut messages, b'S', &[name.as_bytes(), b"\0", value, b"\0"])?;
        }
    }
    if let Some((pid, key)) = key(connection) {
        push(&mut messages, b'K', &[&pid.to_be_bytes(), key])?;
    }
    Some(messages)
}

/// Returns the messages after them: ReadyForQuery, and what the server has sent since.
#[must_use]
pub fn ready(connection: Connection<'_>) -> Vec<u8> {
    [b"Z\0\0\0\x05I", connection.early()].concat()
}

/// Returns the server's process and the key that cancels its requests, if the server reported them.
#[must_use]
pub fn key(connection: Connection<'_>) -> Option<(u32, &[u8])> {
    Some((connection.text(BACKEND_PID)?.parse().ok()?, connection.get(BACKEND_KEY)?))
}

/// Adds a message: its kind, its length, its body. `None` if it is too long for one.
fn push(messages: &mut Vec<u8>, kind: u8, body: &[&[u8]]) -> Option<()> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length.checked_add(4)?).ok()?;
    messages.push(kind);
    messages.extend(length.to_be_bytes());
    messages.extend(body.concat());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker_wire::ConnectionWriter;

    fn payload(protocol: &str) -> Vec<u8> {
        let mut writer = ConnectionWriter::new(protocol).unwrap();
        writer.add("parameter.TimeZone", "UTC").unwrap();
        writer.add("parameter.broken", "a\0b").unwrap();
        writer.add(BACKEND_PID, "258").unwrap();
        writer.add(BACKEND_KEY, [1, 2, 3, 4]).unwrap();
        writer.add("early", "later").unwrap();
        writer.finish().to_vec()
    }

    #[test]
    fn the_start_up_is_made_from_the_payload() {
        let payload = payload(PROTOCOL);
        let connection = Connection::parse(&payload).unwrap();
        let expected = [
            &b"R\0\0\0\x08\0\0\0\0"[..],
            b"S\0\0\0\x11TimeZone\0UTC\0",
            b"K\0\0\0\x0c\0\0\x01\x02\x01\x02\x03\x04",
        ];
        assert_eq!(start_up(connection), Some(expected.concat()));
        assert_eq!(ready(connection), b"Z\0\0\0\x05Ilater");
    }

    #[test]
    fn another_protocol_has_no_such_start_up() {
        let payload = payload("redis");
        assert_eq!(start_up(Connection::parse(&payload).unwrap()), None);
    }
}
