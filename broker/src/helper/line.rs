//! Lines of text, which end with CR and LF.

use std::ops::Range;

use super::answer::Failure;
use super::stream::Stream;

/// Takes a line; returns where it is, without its end, or `None` if it is longer.
///
/// # Errors
/// As [`Stream::take`].
pub(super) fn line(
    stream: &mut Stream<'_>,
    longest: usize,
) -> Result<Option<Range<usize>>, Failure> {
    let mut line = stream.take(0)?;
    while line.len() <= longest {
        line.end = stream.take(1)?.end;
        if let Some(text) = stream.bytes(line.clone()).strip_suffix(b"\r\n") {
            return Ok(Some(line.start..line.start + text.len()));
        }
    }
    Ok(None)
}
