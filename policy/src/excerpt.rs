//! Places in a text, and what a report shows of them.
//!
//! A report never repeats the text as it stands. Control characters and those that change the
//! direction of writing are escaped, so that no file can send a sequence to the administrator's
//! terminal. A long line is cut, and so is one before a password.

use std::ops::Range;

use fdbroker_types::escape;

use crate::secret::hidden_from;

/// How many characters of the line are shown before and after the place, at most.
const BEFORE: usize = 60;
const AFTER: usize = 60;

/// A text of which places are reported.
pub(crate) struct Text<'t> {
    path: String,
    text: &'t str,
    /// The offsets at which lines begin.
    lines: Vec<usize>,
}

/// A place in a text, with what is to be shown of its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// The line or a part of it, escaped.
    pub(crate) shown: String,
    /// What of `shown` to underline, in bytes.
    pub(crate) underline: Range<usize>,
}

impl<'t> Text<'t> {
    pub(crate) fn new(path: &str, text: &'t str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        // A byte order mark is no part of the first line, and nobody's editor counts it.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self {
            path: escape(path),
            text,
            lines: std::iter::once(first).chain(after_newlines).collect(),
        }
    }

    /// The path as it is shown.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The line that an offset lies in, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= offset).max(1)
    }

    /// The place of a span, which is cut off at the end of its first line.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let number = self.line(span.start);
        let (begin, line) = self.content(number);
        let from = floor(line, span.start.saturating_sub(begin));
        let to = floor(line, span.end.saturating_sub(begin)).max(from);
        let column = head(line, from).chars().count() + 1;
        let (line, hidden) = self.shown(number, line);
        let (from, to) = (floor(line, from), floor(line, to));
        let (before, marked, after) = (head(line, from), between(line, from, to), tail(line, to));
        let (before, marked, mut after) =
            (shown_before(before), shown_after(marked), shown_after(after));
        after.push_str(hidden);
        let underline = before.len()..before.len() + marked.len();
        Place { line: number, column, shown: [before, marked, after].concat(), underline }
    }

    /// What is shown of a line, and what stands for the rest of it: see [`crate::secret`].
    fn shown(&self, number: usize, line: &'t str) -> (&'t str, &'static str) {
        let before = (1..=number).map(|number| self.content(number).1);
        hidden_from(before).map_or((line, ""), |from| (head(line, from), "…"))
    }

    /// The offset and the text of a line, without its end.
    pub(crate) fn content(&self, number: usize) -> (usize, &'t str) {
        let begin = self.lines.get(number.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let line = tail(self.text, begin).split('\n').next().unwrap_or_default();
        (begin, line.strip_suffix('\r').unwrap_or(line))
    }
}

fn escape_line(text: &str) -> String {
    escape(&text.replace('\t', "    "))
}

fn shown_before(text: &str) -> String {
    let surplus = text.chars().count().saturating_sub(BEFORE);
    let cut = if surplus > 0 { "…" } else { "" };
    format!("{cut}{}", escape_line(&text.chars().skip(surplus).collect::<String>()))
}

fn shown_after(text: &str) -> String {
    let cut = if text.chars().nth(AFTER).is_some() { "…" } else { "" };
    format!("{}{cut}", escape_line(&text.chars().take(AFTER).collect::<String>()))
}

/// The nearest character boundary at or before an offset, which may lie beyond the end.
fn floor(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn head(text: &str, to: usize) -> &str {
    text.get(..to).unwrap_or_default()
}

fn between(text: &str, from: usize, to: usize) -> &str {
    text.get(from..to).unwrap_or_default()
}

fn tail(text: &str, from: usize) -> &str {
    text.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, at: &str) -> Place {
        let start = text.find(at).unwrap();
        Text::new("p", text).place(&(start..start + at.len()))
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let place = place("a\nñü = \"→\" x\n", "x");
        assert_eq!((place.line, place.column), (2, 10));
    }

    #[test]
    fn a_carriage_return_is_no_part_of_the_line() {
        let place = place("a = 1\r\nb = 2\r\n", "b");
        assert_eq!((place.line, place.column, place.shown.as_str()), (2, 1, "b = 2"));
    }

    #[test]
    fn a_byte_order_mark_takes_no_column() {
        let place = place("\u{feff}key = 1\n", "key");
        assert_eq!((place.line, place.column, place.shown.as_str()), (1, 1, "key = 1"));
    }

    #[test]
    fn a_span_over_several_lines_is_underlined_to_the_end_of_the_first() {
        let place = place("x = \"\"\"a\nb\"\"\"\n", "\"\"\"a\nb\"\"\"");
        assert_eq!(&place.shown[place.underline], "\"\"\"a");
    }

    #[test]
    fn a_password_is_neither_shown_nor_underlined() {
        for at in ["passwd", "hunter2", "user"] {
            let place = place("x = 1\npasswd = \"hunter2\", user = 1\n", at);
            assert_eq!((place.line, place.shown.as_str()), (2, "passwd =…"));
            assert!("passwd".contains(&place.shown[place.underline]));
        }
        assert_eq!(place("passwd = \"hunter2\", user = 1\n", "user").column, 21);
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        let place = Text::new("p", "a = 1\nb =").place(&(9..9));
        assert_eq!((place.line, place.column), (2, 4));
        let place = Text::new("p", "").place(&(7..9));
        assert_eq!((place.line, place.column, place.shown.as_str()), (1, 1, ""));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{} here {}", "x".repeat(5000), "y".repeat(5000));
        let place = place(&text, "here");
        assert_eq!(place.column, 5002);
        assert!(place.shown.len() < 200, "{}", place.shown.len());
        assert_eq!(&place.shown[place.underline], "here");
    }

    #[test]
    fn what_could_reach_the_terminal_is_escaped() {
        let place = place("\u{1b}]0;x\u{7} = \"here\"", "here");
        assert_eq!(place.shown, "\\u{1b}]0;x\\u{7} = \"here\"");
        assert_eq!(&place.shown[place.underline], "here");
    }
}
