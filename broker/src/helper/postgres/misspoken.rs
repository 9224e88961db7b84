//! What is said of a server that does not speak PostgreSQL's protocol.

use crate::helper::answer::{Failure, Step};

/// A message of this name is not what the protocol says.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::new(
        Step::LogIn,
        format!("the server's {what} message is not valid: is it PostgreSQL?"),
    )
}

/// A message of this type announces so many bytes.
pub(super) fn too_long(kind: u8, length: usize) -> Failure {
    let kind = kind.escape_ascii();
    Failure::new(
        Step::LogIn,
        format!(
            "the server begins a message of type \"{kind}\" and of {length} bytes during the log-in: is it PostgreSQL?"
        ),
    )
}

/// A message of this type has no place in the log-in.
pub(super) fn unexpected(kind: u8) -> Failure {
    let kind = kind.escape_ascii();
    Failure::new(
        Step::LogIn,
        format!(
            "the server sends a message of type \"{kind}\" during the log-in: is it PostgreSQL?"
        ),
    )
}
