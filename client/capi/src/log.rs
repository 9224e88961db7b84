//! What ESCROW_VERBOSE says on standard error.

use std::fmt::Display;
use std::io::Write;

/// Speaks, or is silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    pub(crate) speaks: bool,
}

impl Voice {
    pub(crate) fn say(self, what: impl Display) {
        if self.speaks {
            let line = format!("escrow: {what}\n");
            // Where standard error is closed there is nobody to tell.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}
