//! What is said of a server that refuses a log-in, or does not speak Redis' protocol.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fdbroker_types::quoted;

use crate::helper::answer::{Failure, Step};
use crate::helper::secret::Secret;

/// How much of the server's words is repeated, in bytes.
const SHOWN: usize = 200;

/// Returns the failure that an error of the server tells, quoted.
pub(super) fn refused(words: &[u8], secret: Option<&Secret>) -> Failure {
    if secret.is_some_and(|secret| secret.is_in(words)) {
        let text =
            "the server refuses the log-in; its message contains the password and is not shown";
        return Failure::new(Step::LogIn, text);
    }
    let shown = words.get(..SHOWN).unwrap_or(words);
    Failure::new(Step::LogIn, format!("the server says {}", quoted(OsStr::from_bytes(shown))))
}

/// A reply is not what the protocol says.
pub(super) fn malformed() -> Failure {
    Failure::new(Step::LogIn, "the server's reply is not valid: is it Redis?")
}
