//! What is said of a server that does not speak SMTP.

use crate::helper::answer::{Failure, Step};

/// A reply is not what the protocol says.
pub(super) fn malformed() -> Failure {
    Failure::new(Step::LogIn, "the server's reply is not valid: is it SMTP?")
}
