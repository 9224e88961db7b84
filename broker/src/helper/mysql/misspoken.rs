//! What is said of a server that does not speak MySQL's protocol.

use crate::helper::answer::{Failure, Step};

/// A packet of this name is not what the protocol says.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::new(Step::LogIn, format!("the server's {what} is not valid: is it MySQL?"))
}
