//! The response to a greeting (HandshakeResponse41): who logs in, to which database, and what the session can do.

use fdbroker_policy::{MysqlAuth, MysqlMethod};
use zeroize::Zeroizing;

/// The character set of the session: utf8mb4_general_ci, which MySQL and MariaDB have.
pub(super) const CHARSET: u8 = 45;

/// The longest packet that the client would take, in bytes; servers do not look at it.
const LONGEST_PACKET: u32 = 1 << 24;

/// Returns the beginning of the packet, which is all of a request for TLS.
pub(super) fn beginning(capabilities: u32) -> Vec<u8> {
    let numbers = [capabilities.to_le_bytes(), LONGEST_PACKET.to_le_bytes()].concat();
    [&numbers[..], &[CHARSET], &[0; 23]].concat()
}

/// Returns the body of the packet.
pub(super) fn response(
    capabilities: u32,
    auth: &MysqlAuth,
    method: MysqlMethod,
    answer: &[u8],
) -> Zeroizing<Vec<u8>> {
    let beginning = beginning(capabilities);
    // No answer is longer than 32 bytes.
    let length = [u8::try_from(answer.len()).unwrap_or_default()];
    let mut parts = vec![&beginning[..]];
    parts.extend([auth.user.as_bytes(), b"\0", &length, answer]);
    if let Some(database) = &auth.database {
        parts.extend([database.as_bytes(), b"\0"]);
    }
    parts.extend([method.name().as_bytes(), b"\0"]);
    Zeroizing::new(parts.concat())
}
