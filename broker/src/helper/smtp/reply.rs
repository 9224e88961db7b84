//! Replies of an SMTP server: one line or more, each with the number of the reply.

use std::ops::Range;

use super::misspoken::malformed;
use crate::helper::answer::Failure;
use crate::helper::line::line;
use crate::helper::secret::Secret;
use crate::helper::server_words::refused;
use crate::helper::stream::Stream;

/// The longest line; RFC 5321 allows 512 bytes, and servers send more.
const MAX_LINE: usize = 4096;
/// The longest keyword of an extension.
const MAX_KEYWORD: usize = 64;

/// A reply.
pub(super) struct Reply {
    code: u16,
    /// Where its lines are, with their numbers.
    whole: Vec<Range<usize>>,
    /// The same, without them.
    pub(super) lines: Vec<Range<usize>>,
}

impl Reply {
    /// Takes a reply, to its last line.
    ///
    /// # Errors
    /// If none comes, or it is not valid.
    pub(super) fn take(stream: &mut Stream<'_>) -> Result<Self, Failure> {
        let mut reply = Self { code: 0, whole: Vec::new(), lines: Vec::new() };
        loop {
            let whole = line(stream, MAX_LINE)?.ok_or_else(malformed)?;
            let (code, separator) = head(stream.bytes(whole.clone())).ok_or_else(malformed)?;
            if reply.code != 0 && reply.code != code {
                return Err(malformed());
            }
            reply.code = code;
            reply.lines.push(whole.end.min(whole.start + 4)..whole.end);
            reply.whole.push(whole);
            match separator {
                None | Some(b' ') => return Ok(reply),
                Some(b'-') => {}
                Some(_) => return Err(malformed()),
            }
        }
    }

    /// Fails if it is another one than this.
    ///
    /// # Errors
    /// With the server's words.
    pub(super) fn expect<const SECRETS: usize>(
        &self,
        code: u16,
        stream: &Stream<'_>,
        secrets: [&Secret; SECRETS],
    ) -> Result<(), Failure> {
        if self.code == code {
            return Ok(());
        }
        // The reason is in the last line, if not in each.
        let last = self.whole.last().cloned().unwrap_or_default();
        Err(refused(stream.bytes(last), secrets))
    }
}

/// Returns the number of a line, and the character after it.
fn head(line: &[u8]) -> Option<(u16, Option<u8>)> {
    let (digits, rest) = line.split_first_chunk::<3>()?;
    let digits =
        str::from_utf8(digits).ok().filter(|it| it.bytes().all(|it| it.is_ascii_digit()))?;
    let code = digits.parse().ok().filter(|code| (200..=599).contains(code))?;
    Some((code, rest.first().copied()))
}

/// Returns whether it can be the keyword of an extension.
pub(super) fn is_keyword(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-=_".contains(&byte);
    (1..=MAX_KEYWORD).contains(&text.len()) && text.bytes().all(is_allowed)
}
