//! What is not tested here is said aloud.

use std::io::{self, Write};

use crate::is_root;

/// Says that something is not tested here, and why: aloud, also where the test harness keeps
/// what tests print to itself.
pub fn skip(what: &str, reason: &str) {
    let line = format!("skipped: {what}: {reason}\n");
    // Where standard error is closed there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Whether the test `what` can become other users; says so aloud where it cannot.
pub fn needs_root(what: &str) -> bool {
    if !is_root() {
        skip(what, "only root can become other users");
    }
    is_root()
}
