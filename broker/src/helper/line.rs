//! Lines of text.

use std::ops::Range;

use super::answer::Failure;
use super::stream::Stream;

/// Takes a line that ends with CR and LF; returns where it is, without them, or `None` if it is longer.
///
/// # Errors
/// As [`Stream::take`].
pub(super) fn line(
    stream: &mut Stream<'_>,
    longest: usize,
) -> Result<Option<Range<usize>>, Failure> {
    up_to(stream, b"\r\n", longest)
}

/// Takes bytes up to this end; returns where they are, without it, or `None` if there are more.
///
/// # Errors
/// As [`Stream::take`].
pub(super) fn up_to(
    stream: &mut Stream<'_>,
    end: &[u8],
    longest: usize,
) -> Result<Option<Range<usize>>, Failure> {
    let mut line = stream.take(0)?;
    while line.len() <= longest {
        line.end = stream.take(1)?.end;
        if let Some(text) = stream.bytes(line.clone()).strip_suffix(end) {
            return Ok(Some(line.start..line.start + text.len()));
        }
    }
    Ok(None)
}
