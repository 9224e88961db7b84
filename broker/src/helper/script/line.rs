//! One line of a server, with a bound of its own.

use std::ops::Range;

use crate::helper::answer::{Failure, Step};
use crate::helper::stream::Stream;

/// The longest line.
const MAX_LINE: usize = 4096;

/// Takes a line; returns where it is, without its end, which is LF or CR LF.
///
/// # Errors
/// If it does not come, or is too long.
pub(super) fn line(stream: &mut Stream<'_>) -> Result<Range<usize>, Failure> {
    let mut line = stream.take(0)?;
    while line.len() <= MAX_LINE {
        line.end = stream.take(1)?.end;
        if let Some(text) = stream.bytes(line.clone()).strip_suffix(b"\n") {
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            return Ok(line.start..line.start + text.len());
        }
    }
    Err(Failure::new(Step::LogIn, format!("the server sends a line of more than {MAX_LINE} bytes")))
}
