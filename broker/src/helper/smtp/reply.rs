//! Replies of an SMTP server: one line or more, each with the number of the reply.

use std::ops::Range;

use crate::helper::answer::{Failure, Step};
use crate::helper::line::line;
use crate::helper::server_words::{Told, refused};
use crate::helper::stream::Stream;

/// The longest line; RFC 5321 allows 512 bytes, and servers send more.
const MAX_LINE: usize = 4096;
/// The length of the number of a reply.
const NUMBER: usize = 3;
/// The longest keyword of an extension.
const MAX_KEYWORD: usize = 64;

/// The reply of a server that is ready: for a session, or for TLS.
pub(super) const READY: u16 = 220;

/// A reply.
pub(super) struct Reply {
    /// `None` until its first line has been taken.
    code: Option<u16>,
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
        let mut reply = Self { code: None, whole: Vec::new(), lines: Vec::new() };
        loop {
            let whole = line(stream, MAX_LINE)?.ok_or_else(malformed)?;
            let (code, separator) = head(stream.bytes(whole.clone())).ok_or_else(malformed)?;
            if *reply.code.get_or_insert(code) != code {
                return Err(malformed());
            }
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
    pub(super) fn expect(
        &self,
        code: u16,
        stream: &Stream<'_>,
        told: Told<'_>,
    ) -> Result<(), Failure> {
        if self.code == Some(code) {
            return Ok(());
        }
        // The reason is in the last line, if not in each.
        let last = self.whole.last().cloned().unwrap_or_default();
        let words = stream.bytes(last);
        Err(refused(words, numbers(words), told))
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

/// Returns the number with which a line begins, and the status code after it (RFC 3463), if there is one.
fn numbers(line: &[u8]) -> &[u8] {
    let (number, rest) = line.split_at_checked(NUMBER).unwrap_or_default();
    let status = rest.strip_prefix(b" ").unwrap_or_default();
    let status = status.split(|byte| *byte == b' ').next().unwrap_or_default();
    let both = line.get(..NUMBER + 1 + status.len()).unwrap_or_default();
    if is_status(status) { both } else { number }
}

fn is_status(word: &[u8]) -> bool {
    let mut parts = word.split(|byte| *byte == b'.');
    let longest = [1, 1, 3];
    let are_numbers = longest.iter().all(|longest| {
        let part = parts.next().unwrap_or_default();
        (1..=*longest).contains(&part.len()) && part.iter().all(u8::is_ascii_digit)
    });
    are_numbers && parts.next().is_none()
}

/// Returns whether it can be the keyword of an extension.
pub(super) fn is_keyword(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-=_".contains(&byte);
    (1..=MAX_KEYWORD).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// A reply is not what the protocol says.
pub(super) fn malformed() -> Failure {
    Failure::new(Step::LogIn, "the server's reply is not valid: is it SMTP?")
}
