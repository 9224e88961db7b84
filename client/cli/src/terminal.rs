//! What a terminal may be shown, and standard error, which mostly is one.

use std::fmt;
use std::io::{self, Write};

use fdbroker_types::escape_lines;

/// Writes lines to standard error, escaped.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", escape_lines(&text.to_string()));
}
