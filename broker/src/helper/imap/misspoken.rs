//! What is said of a server that does not speak IMAP.

use crate::helper::answer::{Failure, Step};

/// A response is not what the protocol says.
pub(super) fn malformed() -> Failure {
    Failure::new(Step::LogIn, "the server's response is not valid: is it IMAP?")
}
