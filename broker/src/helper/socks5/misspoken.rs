//! What is said of a server that does not speak SOCKS5.

use crate::helper::answer::{Failure, Step};

/// A message of this name is not what the protocol says.
pub(super) fn malformed(what: &str) -> Failure {
    Failure::new(Step::LogIn, format!("the proxy's {what} message is not valid: is it SOCKS5?"))
}
