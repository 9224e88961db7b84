//! What is wrong with a policy: each with its place and what to do about it, all of them together.

use std::borrow::Cow;
use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use fdbroker_types::escape;

use crate::excerpt::Place;

/// One thing that is wrong.
///
/// Its text is harmless to print: whatever came from the file is escaped. Printed, it shows the line, underlines the
/// place and ends without a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: String,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Whether the policy loads all the same.
    is_warning: bool,
    /// Which of the files, in their order.
    file: usize,
    place: Option<Place>,
    related: Option<Related>,
}

/// A second place that a finding points at, with what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Related {
    path: String,
    place: Place,
    what: &'static str,
}

/// Everything that is wrong with a policy: at least one finding, in the order of files and places. Of very many, 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
    more: usize,
}

/// The findings that are kept and shown; further ones are only counted. A policy can have millions of mistakes.
pub(crate) const MOST_SHOWN: usize = 100;

/// The longest message or remedy, in bytes: each can repeat a name of the file.
const LONGEST: usize = 4096;

impl Finding {
    /// A finding about the file as a whole, or about a directory above it.
    #[must_use]
    pub fn about_file(
        path: impl AsRef<str>,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) -> Self {
        Self {
            path: escape(path.as_ref()),
            line: 0,
            column: 0,
            message: escape(cut(message.as_ref()).as_ref()),
            remedy: escape(cut(remedy.as_ref()).as_ref()),
            is_warning: false,
            file: 0,
            place: None,
            related: None,
        }
    }

    /// As a warning: the policy loads all the same.
    pub(crate) fn into_warning(self) -> Self {
        Self { is_warning: true, ..self }
    }

    /// Returns the finding on one line, with its place.
    #[must_use]
    pub fn line(&self) -> String {
        let place = match self.line {
            0 => self.path.clone(),
            line => format!("{}:{line}:{}", self.path, self.column),
        };
        format!("{place}: {}; {}", self.message, self.remedy)
    }

    /// A finding about a place; the path is already escaped.
    pub(crate) fn at(path: &str, place: Place, message: &str, remedy: &str) -> Self {
        let (line, column) = (place.line, place.column);
        Self { line, column, place: Some(place), ..Self::about_file(path, message, remedy) }
    }

    /// Says which of several files it is about.
    pub(crate) fn in_file(self, file: usize) -> Self {
        Self { file, ..self }
    }

    /// Points at a second place too, and says what is there; the path is already escaped.
    pub(crate) fn and_at(self, path: &str, place: Place, what: &'static str) -> Self {
        Self { related: Some(Related { path: path.to_owned(), place, what }), ..self }
    }

    /// What is about whole files comes first.
    fn position(&self) -> (bool, usize, usize, usize) {
        (self.place.is_some(), self.file, self.line, self.column)
    }
}

impl Findings {
    /// Puts findings in order; `None` if there are none.
    #[must_use]
    pub fn new(mut findings: Vec<Finding>) -> Option<Self> {
        findings.sort_by_key(Finding::position);
        let more = findings.len().saturating_sub(MOST_SHOWN);
        findings.truncate(MOST_SHOWN);
        if findings.is_empty() { None } else { Some(Self { list: findings, more }) }
    }

    /// Counts findings that nobody kept.
    pub(crate) fn and_more(self, more: usize) -> Self {
        Self { more: self.more.saturating_add(more), ..self }
    }

    /// Returns how many further findings there are: at most 100 are kept.
    #[must_use]
    pub const fn more(&self) -> usize {
        self.more
    }

    /// Returns what to say of those that are not kept, if there are any.
    #[must_use]
    pub fn rest(&self) -> Option<String> {
        match self.more {
            0 => None,
            1 => Some("and 1 more finding: correct these first".to_owned()),
            more => Some(format!("and {more} more findings: correct these first")),
        }
    }

    /// Goes through the findings in the order of files and places; those about a file as a whole come first.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.list.iter()
    }

    /// All of these and all of those.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        let mut list = self.list;
        list.extend(others.list);
        list.sort_by_key(Finding::position);
        let surplus = list.len().saturating_sub(MOST_SHOWN);
        list.truncate(MOST_SHOWN);
        let more = self.more.saturating_add(others.more);
        Self { list, more }.and_more(surplus)
    }
}

/// The beginning of a text that is too long to be shown.
fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default()))
}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        Self { list: vec![finding], more: 0 }
    }
}

impl IntoIterator for Findings {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, level) =
            if self.is_warning { ("warning", Level::WARNING) } else { ("error", Level::ERROR) };
        let name = heading(&self.path, self.place.as_ref(), name);
        let title = level.with_name(name).primary_title(self.message.as_str());
        let help = Level::HELP.message(self.remedy.as_str());
        let Some(place) = &self.place else {
            return write_report(f, &[Group::with_title(title).element(help)]);
        };
        let main = title.element(snippet(place, AnnotationKind::Primary));
        let Some(Related { path, place: first, what }) = &self.related else {
            return write_report(f, &[main.element(help)]);
        };
        let note = heading(path, Some(first), "note");
        let second = Level::NOTE
            .with_name(note)
            .secondary_title(*what)
            .element(snippet(first, AnnotationKind::Context));
        write_report(f, &[main, second.element(help)])
    }
}

fn heading(path: &str, place: Option<&Place>, level: &str) -> String {
    match place {
        Some(place) => format!("{path}:{}:{}: {level}", place.line, place.column),
        None => format!("{path}: {level}"),
    }
}

fn snippet(place: &Place, kind: AnnotationKind) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    Snippet::source(place.shown.as_str())
        .line_start(place.line)
        .annotation(kind.span(place.underline.clone()))
}

fn write_report(f: &mut fmt::Formatter<'_>, groups: &[Group<'_>]) -> fmt::Result {
    f.write_str(&Renderer::plain().term_width(WIDTH).render(groups))
}

/// Wide enough for every excerpt, so that the renderer never cuts a line by the width of some terminal.
const WIDTH: usize = 10_000;

impl fmt::Display for Findings {
    /// All findings that are kept, with an empty line between them and no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n\n")?;
            }
            finding.fmt(f)?;
        }
        self.rest().map_or(Ok(()), |rest| write!(f, "\n\n{rest}"))
    }
}

impl std::error::Error for Finding {}

impl std::error::Error for Findings {}
