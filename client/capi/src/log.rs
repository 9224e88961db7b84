//! What the library writes to standard error, and when.

use std::fmt::Display;
use std::io::Write;

/// The messages of a session: all of them, or what has to be known alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    /// Whether ESCROW_VERBOSE was set.
    pub(crate) verbose: bool,
}

impl Log {
    /// Writes a message if ESCROW_VERBOSE was set.
    pub(crate) fn detail(self, what: impl Display) {
        if self.verbose {
            self.error(what);
        }
    }

    /// Writes a message in any case.
    pub(crate) fn error(self, what: impl Display) {
        let line = format!("escrow: {what}\n");
        // If standard error is closed, there is no reader.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
