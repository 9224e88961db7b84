//! Reads `program`: a log-in that a program of the operator's does.

use super::names::{PASSWORD, USER, name, password};
use super::protocol::{PROTOCOL, protocol};
use crate::ProgramAuth;
use crate::load::reader::{Expected, Section};
use crate::load::report::{Report, Span};
use crate::load::resources::path::check_path;

/// The key of the kind, whose value may be the command alone.
pub(super) const PROGRAM: Expected = Expected { key: "program", write: WRITE };
const COMMAND: Expected = Expected { key: "command", write: WRITE };
const WRITE: &str =
    "the program's path and its arguments, such as [\"/usr/libexec/log-in\", \"--amqp\"]";
const MOST_WORDS: usize = 64;
/// How long path and arguments may be, in bytes: they go to the program's process in one message.
const LONGEST: usize = 4096;
/// What a payload without `protocol` has.
const DEFAULT_PROTOCOL: &str = "program";

/// Reads the table, where these are all kinds of log-in.
pub(super) fn read(
    section: Section<'_, '_>,
    kinds: &[&str],
    report: &mut Report<'_>,
) -> Option<ProgramAuth> {
    section.refuse_unknown_keys(&[COMMAND.key, PROTOCOL.key, USER.key, PASSWORD.key], report);
    if section.get(COMMAND.key).is_none() {
        let remedy = format!("add `command =` with {WRITE}");
        report.add_missing(section.name, "`program` has no `command`", remedy);
    }
    let protocol = protocol(section, DEFAULT_PROTOCOL, kinds, report);
    let user = name(section, USER, report);
    let password = password(section, report);
    let command = command(section, COMMAND, report)?;
    Some(ProgramAuth { command, protocol, user, password })
}

/// Reads the command that stands there alone: no user and no password.
pub(super) fn alone(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<ProgramAuth> {
    let command = command(section, PROGRAM, report)?;
    let protocol = DEFAULT_PROTOCOL.to_owned();
    Some(ProgramAuth { command, protocol, user: None, password: None })
}

fn command(
    section: Section<'_, '_>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<Vec<String>> {
    let words = section.strings(expected, report)?;
    let span = section.get(expected.key)?.span();
    let length: usize = words.iter().map(|(word, _)| word.len()).sum();
    if words.is_empty() || words.len() > MOST_WORDS || length > LONGEST {
        let message = format!("`{}` has {} words of {length} bytes", expected.key, words.len());
        let remedy = format!("write 1 to {MOST_WORDS} words of at most {LONGEST} bytes in all");
        report.add(&span, message, remedy);
        return None;
    }
    let (path, arguments) = words.split_first()?;
    let is_path = check_path(path.0, &path.1, report);
    let are_words = arguments.iter().filter(|word| !is_word(word, report)).count() == 0;
    (is_path && are_words).then(|| words.iter().map(|(word, _)| (*word).to_owned()).collect())
}

fn is_word((word, span): &(&str, Span), report: &mut Report<'_>) -> bool {
    let is_word = !word.contains('\0');
    if !is_word {
        report.add(span, "an argument of the program has a NUL in it", "write it without");
    }
    is_word
}
