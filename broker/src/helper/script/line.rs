//! One line of a server, with a bound of its own.

use std::ops::Range;

use crate::helper::answer::{Failure, Step};
use crate::helper::line::up_to;
use crate::helper::stream::Stream;

/// The longest line.
const MAX_LINE: usize = 4096;

/// Takes a line; returns where it is, without its end, which is LF or CR LF.
///
/// # Errors
/// If it does not come, or is too long.
pub(super) fn line(stream: &mut Stream<'_>) -> Result<Range<usize>, Failure> {
    let Some(line) = up_to(stream, b"\n", MAX_LINE)? else {
        let text = format!("the server sends a line of more than {MAX_LINE} bytes");
        return Err(Failure::new(Step::LogIn, text));
    };
    let text = stream.bytes(line.clone());
    let length = text.strip_suffix(b"\r").unwrap_or(text).len();
    Ok(line.start..line.start + length)
}
