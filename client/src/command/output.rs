//! Standard output and standard error, whose readers may leave at any time.

use std::fmt;
use std::io::{self, Write};

use super::Failure;

/// Writes to standard output. A reader that has gone has seen enough: that is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::local("standard output", error)),
    }
}

/// Writes a line to standard output.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes a line to standard error.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
