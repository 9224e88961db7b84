//! Collects what is wrong with a text.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::excerpt::Text;
use crate::{Finding, Findings};

/// A place in the text, in bytes.
pub(super) type Span = Range<usize>;

/// The findings so far.
pub(super) struct Report<'t> {
    text: &'t Text<'t>,
    findings: Vec<Finding>,
    /// Lines with broken syntax: what was recovered from them is a guess.
    broken: BTreeSet<usize>,
    /// The header of a table is broken, so nobody knows which table the keys after it belong to.
    headless: bool,
}

impl<'t> Report<'t> {
    pub(super) const fn new(text: &'t Text<'t>) -> Self {
        Self { text, findings: Vec::new(), broken: BTreeSet::new(), headless: false }
    }

    /// Takes down an error of the parser. All of them must come before anything else.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let line = self.text.line(span.start);
        self.broken.insert(line);
        self.headless |= self.text.content(line).1.trim_start().starts_with('[');
        let (message, remedy) = explain(error.message());
        self.push(&span, &message, remedy);
    }

    /// Something is wrong with what stands at a place.
    pub(super) fn add(&mut self, span: &Span, message: impl AsRef<str>, remedy: impl AsRef<str>) {
        if self.is_sound(span) {
            self.push(span, message.as_ref(), remedy.as_ref());
        }
    }

    /// Something that may stand only once stands at a second place; `first` is where it stood before.
    pub(super) fn add_twice(
        &mut self,
        span: &Span,
        first: &Span,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        if self.is_sound(span) {
            let place = self.text.place(span);
            let finding = Finding::at(self.text.path(), place, message.as_ref(), remedy.as_ref());
            self.findings.push(finding.and_at(self.text.place(first), "first given here"));
        }
    }

    /// Something is missing from what stands at a place. Where the syntax is broken it may be there all the same.
    pub(super) fn add_missing(
        &mut self,
        span: &Span,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        if self.broken.is_empty() {
            self.add(span, message, remedy);
        }
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, span: &Span) -> usize {
        self.text.line(span.start)
    }

    /// The findings, if there are any.
    pub(super) fn finish(self) -> Option<Findings> {
        Findings::new(self.findings)
    }

    fn is_sound(&self, span: &Span) -> bool {
        !self.headless && !self.broken.contains(&self.line(span))
    }

    fn push(&mut self, span: &Span, message: &str, remedy: &str) {
        let place = self.text.place(span);
        self.findings.push(Finding::at(self.text.path(), place, message, remedy));
    }
}

/// What the parser says, and what to do about it.
fn explain(message: &str) -> (String, &'static str) {
    match message {
        "duplicate key" => (
            "syntax error: this key or table is given twice".to_owned(),
            "keep one of the two; further rules each begin with [[rules]]",
        ),
        _ => {
            (format!("syntax error: {message}"), "the file is written in TOML: see https://toml.io")
        }
    }
}
