//! Replies of Redis' protocol, RESP2 and RESP3: as much of them as a log-in meets.
//!
//! Nothing here calls itself, and nothing is reserved for a number of elements that a server claims.

use std::ops::Range;

use super::server_error::refused;
use crate::helper::answer::{Failure, Step};
use crate::helper::line::line;
use crate::helper::server_words::Told;
use crate::helper::stream::Stream;

/// The longest line, which an error may take.
const MAX_LINE: usize = 4096;

/// One element of a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// A text or a number: where it is in the stream.
    Text(Range<usize>),
    /// What the server refuses: where its words are.
    Error(Range<usize>),
    /// So many keys and values follow.
    Map(u64),
    /// So many elements follow.
    List(u64),
    Null,
}

impl Reply {
    /// Takes the next element. The elements of a map or a list are left to be taken.
    ///
    /// # Errors
    /// If none comes, or it is not valid.
    pub(super) fn take(stream: &mut Stream<'_>) -> Result<Self, Failure> {
        let kind = stream.take(1)?;
        let kind = stream.bytes(kind).first().copied().unwrap_or_default();
        if !b"+-:$%*~_#,(=".contains(&kind) {
            return Err(malformed());
        }
        let line = line(stream, MAX_LINE)?.ok_or_else(malformed)?;
        Ok(match kind {
            b'-' => Self::Error(line),
            b'_' => Self::Null,
            b'$' | b'=' => return text(stream, line),
            b'%' => Self::Map(number(stream.bytes(line))?),
            b'*' | b'~' => Self::List(number(stream.bytes(line))?),
            _ => Self::Text(line),
        })
    }

    /// Takes what is in this element; the bound of the stream ends it.
    ///
    /// # Errors
    /// As [`Reply::take`].
    pub(super) fn skip_rest(self, stream: &mut Stream<'_>) -> Result<(), Failure> {
        let mut left = self.elements();
        while left > 0 {
            left = (left - 1).saturating_add(Self::take(stream)?.elements());
        }
        Ok(())
    }

    fn elements(&self) -> u64 {
        match self {
            Self::Map(pairs) => pairs.saturating_mul(2),
            Self::List(elements) => *elements,
            Self::Text(_) | Self::Error(_) | Self::Null => 0,
        }
    }
}

/// Takes the reply to a command that the server answers with OK.
///
/// # Errors
/// If it answers anything else.
pub(super) fn expect_ok(stream: &mut Stream<'_>, told: Told<'_>) -> Result<(), Failure> {
    match Reply::take(stream)? {
        Reply::Text(text) if stream.bytes(text.clone()) == b"OK" => Ok(()),
        Reply::Error(words) => Err(refused(stream.bytes(words), told)),
        _ => Err(malformed()),
    }
}

/// Takes a text whose length the line says; −1 says that there is none.
fn text(stream: &mut Stream<'_>, line: Range<usize>) -> Result<Reply, Failure> {
    if stream.bytes(line.clone()) == b"-1" {
        return Ok(Reply::Null);
    }
    let length = number(stream.bytes(line))?;
    let text = stream.take(usize::try_from(length).unwrap_or(usize::MAX))?;
    let end = stream.take(2)?;
    if stream.bytes(end) == b"\r\n" { Ok(Reply::Text(text)) } else { Err(malformed()) }
}

fn number(digits: &[u8]) -> Result<u64, Failure> {
    let digits =
        str::from_utf8(digits).ok().filter(|text| text.bytes().all(|it| it.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(malformed)
}

/// A reply is not what the protocol says.
pub(super) fn malformed() -> Failure {
    Failure::new(Step::LogIn, "the server's reply is not valid: is it Redis?")
}
