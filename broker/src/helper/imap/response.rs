//! Responses of an IMAP server: lines with `*`, with `+`, or with the tag of a command.

use std::ops::Range;

use crate::helper::answer::{Failure, Step};
use crate::helper::line::line;
use crate::helper::server_words::{Told, refused};
use crate::helper::stream::Stream;

/// The longest line.
const MAX_LINE: usize = 8192;
/// How the lines begin that belong to no command.
const UNTAGGED: &[u8] = b"* ";
/// How a server says that it has not done a command, or ends the connection.
const STATUSES: [&[u8]; 3] = [b"NO", b"BAD", b"BYE"];
/// Why it refuses a log-in (RFC 5530).
const CODES: [&[u8]; 8] = [
    b"[ALERT]",
    b"[AUTHENTICATIONFAILED]",
    b"[AUTHORIZATIONFAILED]",
    b"[CONTACTADMIN]",
    b"[EXPIRED]",
    b"[LIMIT]",
    b"[PRIVACYREQUIRED]",
    b"[UNAVAILABLE]",
];
const CAPABILITY: &[u8] = b"CAPABILITY ";

/// Takes the first line of a server, unless it was taken before TLS began.
///
/// # Errors
/// With the server's words, if it refuses the connection; if it has logged somebody in.
pub(super) fn begin(stream: &mut Stream<'_>) -> Result<(), Failure> {
    if stream.has_begun() { Ok(()) } else { greeting(stream) }
}

fn greeting(stream: &mut Stream<'_>) -> Result<(), Failure> {
    let greeting = take_line(stream)?;
    let bytes = stream.bytes(greeting);
    let words = bytes.strip_prefix(UNTAGGED).ok_or_else(malformed)?;
    if begins(words, b"OK") {
        Ok(())
    } else if begins(words, b"PREAUTH") {
        let text = "the server has logged somebody in already (PREAUTH)";
        Err(Failure::new(Step::LogIn, text))
    } else if begins(words, b"BYE") {
        Err(refused(words, b"", Told::Proof(None)))
    } else {
        Err(malformed())
    }
}

/// Asks what the server can do.
///
/// # Errors
/// If it does not answer that.
pub(super) fn capabilities(
    stream: &mut Stream<'_>,
    tag: &str,
    told: Told<'_>,
) -> Result<Vec<u8>, Failure> {
    stream.send(format!("{tag} CAPABILITY\r\n").as_bytes())?;
    done(stream, tag, told)?.ok_or_else(malformed)
}

/// Returns whether a list of what a server can do has this.
pub(super) fn has(capabilities: &[u8], name: &[u8]) -> bool {
    capabilities.split(|byte| *byte == b' ').any(|found| found.eq_ignore_ascii_case(name))
}

/// Takes lines until the server waits for more of a command.
///
/// # Errors
/// With the server's words, if it refuses the command.
pub(super) fn continued(stream: &mut Stream<'_>, tag: &str) -> Result<(), Failure> {
    loop {
        let line = Line::take(stream, tag)?;
        match line {
            Line::Continued => return Ok(()),
            Line::Untagged(words) if !begins(stream.bytes(words.clone()), b"BYE") => {}
            Line::Untagged(words) | Line::Tagged(words) => {
                return Err(refused(stream.bytes(words), b"", Told::Proof(None)));
            }
        }
    }
}

/// Takes lines until the server has done a command; returns what it has said that it can do.
///
/// # Errors
/// With the server's words, if it refuses the command.
pub(super) fn done(
    stream: &mut Stream<'_>,
    tag: &str,
    told: Told<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut capabilities = None;
    loop {
        let line = Line::take(stream, tag)?;
        let (Line::Untagged(words) | Line::Tagged(words)) = line.clone() else {
            return Err(malformed());
        };
        let words = stream.bytes(words);
        match line {
            Line::Tagged(_) if begins(words, b"OK") => return Ok(capabilities),
            Line::Untagged(_) if !begins(words, b"BYE") => {
                capabilities = list(words).or(capabilities);
            }
            _ => return Err(refused(words, code(words), told)),
        }
    }
}

/// A line of a server; where its words are.
#[derive(Clone)]
enum Line {
    /// The server waits for more of the command.
    Continued,
    /// The line belongs to no command.
    Untagged(Range<usize>),
    /// The command is over.
    Tagged(Range<usize>),
}

impl Line {
    fn take(stream: &mut Stream<'_>, tag: &str) -> Result<Self, Failure> {
        let found = take_line(stream)?;
        let bytes = stream.bytes(found.clone());
        let after = |before: &[u8]| {
            bytes.strip_prefix(before).map(|words| found.end - words.len()..found.end)
        };
        if bytes.starts_with(b"+") {
            return Ok(Self::Continued);
        }
        let tagged = || after(&[tag.as_bytes(), b" "].concat()).map(Self::Tagged);
        after(UNTAGGED).map(Self::Untagged).or_else(tagged).ok_or_else(malformed)
    }
}

/// Returns what the server says that it can do, if this is said.
fn list(words: &[u8]) -> Option<Vec<u8>> {
    let (before, list) = words.split_at_checked(CAPABILITY.len())?;
    before.eq_ignore_ascii_case(CAPABILITY).then(|| list.to_vec())
}

/// Returns the status with which the words begin, and the code after it, if both are known.
fn code(words: &[u8]) -> &[u8] {
    let mut parts = words.split(|byte| *byte == b' ');
    let status = parts.next().filter(|it| STATUSES.contains(it)).unwrap_or_default();
    match parts.next() {
        Some(code) if !status.is_empty() && CODES.contains(&code) => {
            words.get(..status.len() + 1 + code.len()).unwrap_or_default()
        }
        _ => status,
    }
}

fn take_line(stream: &mut Stream<'_>) -> Result<Range<usize>, Failure> {
    line(stream, MAX_LINE)?.ok_or_else(malformed)
}

/// Returns whether this is the first word.
fn begins(words: &[u8], word: &[u8]) -> bool {
    words.split(|byte| *byte == b' ').next().is_some_and(|first| first.eq_ignore_ascii_case(word))
}

/// A response is not what the protocol says.
pub(super) fn malformed() -> Failure {
    Failure::new(Step::LogIn, "the server's response is not valid: is it IMAP?")
}
