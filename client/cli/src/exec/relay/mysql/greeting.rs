//! The first packet (HandshakeV10): what the relay says as the server of its session.

use std::hash::{BuildHasher, RandomState};

use fdbroker::Connection;
use fdbroker::connection::{CAPABILITIES, CHARSET, CLIENT_ID, STATUS};

use super::flags::{CONNECT_WITH_DB, MULTI_STATEMENTS, REQUIRED};

/// The version of the greeting.
const VERSION: u8 = 10;
/// The method of log-in that each client has. No answer is looked at.
const METHOD: &[u8] = b"mysql_native_password\0";
/// The length of the nonce, with its NUL.
const NONCE: u8 = 21;

/// The body of the packet.
pub(super) fn greeting(connection: Connection<'_>) -> Vec<u8> {
    let [one, two, three, four] = offered(connection).to_le_bytes();
    let version = connection.parameter("server_version").unwrap_or_default();
    let thread: u32 = number(connection, CLIENT_ID);
    let charset: u8 = number(connection, CHARSET);
    let nonce = nonce();
    let (begin, end) = nonce.split_at(8);
    [
        &[VERSION][..],
        version.as_bytes(),
        b"\0",
        &thread.to_le_bytes(),
        begin,
        &[0, one, two, charset],
        &status(connection).to_le_bytes(),
        &[three, four, NONCE],
        &[0; 10],
        end,
        b"\0",
        METHOD,
    ]
    .concat()
}

/// The status of the session.
pub(super) fn status(connection: Connection<'_>) -> u16 {
    number(connection, STATUS)
}

/// What a client may ask for: what the session can do, and what it can be made to do.
pub(super) fn offered(connection: Connection<'_>) -> u32 {
    let agreed: u32 = number(connection, CAPABILITIES);
    agreed | REQUIRED | CONNECT_WITH_DB | MULTI_STATEMENTS
}

fn number<T: std::str::FromStr + Default>(connection: Connection<'_>, name: &str) -> T {
    connection.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Bytes for the client's answer, which nobody looks at. None of them is NUL.
fn nonce() -> [u8; 20] {
    let mut nonce = [0; 20];
    let state = RandomState::new();
    for (place, byte) in nonce.iter_mut().enumerate() {
        let [random, ..] = state.hash_one(place).to_le_bytes();
        *byte = random | 0x40;
    }
    nonce.map(|byte| byte & 0x7f)
}
