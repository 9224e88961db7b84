//! Collects what is wrong with the texts.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::excerpt::Text;
use crate::finding::MOST_SHOWN;
use crate::{Finding, Findings};

/// A place in the text, in bytes.
pub(super) type Span = Range<usize>;

/// The findings so far.
pub(super) struct Report<'t> {
    texts: &'t [Text<'t>],
    /// The text that is being read: every span is about it.
    file: usize,
    findings: Vec<Finding>,
    /// How many further ones there are.
    more: usize,
    /// What the policy loads in spite of; of very many, the first.
    warnings: Vec<Finding>,
    /// Lines with broken syntax, by file: what was recovered from them is a guess.
    broken: BTreeSet<(usize, usize)>,
    /// Files in which the header of a table is broken, so nobody knows which table the keys after it belong to.
    headless: BTreeSet<usize>,
}

/// A place in one of the texts.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    file: usize,
    span: Span,
}

impl<'t> Report<'t> {
    pub(super) const fn new(texts: &'t [Text<'t>]) -> Self {
        Self {
            texts,
            file: 0,
            findings: Vec::new(),
            more: 0,
            warnings: Vec::new(),
            broken: BTreeSet::new(),
            headless: BTreeSet::new(),
        }
    }

    /// From here on, spans are about this text.
    pub(super) const fn enter(&mut self, file: usize) {
        self.file = file;
    }

    /// Whether the text that is being read is the first one.
    pub(super) const fn is_in_main_file(&self) -> bool {
        self.file == 0
    }

    /// A place in the text that is being read, to be remembered.
    pub(super) fn mark(&self, span: &Span) -> Mark {
        Mark { file: self.file, span: span.clone() }
    }

    /// Takes down an error of the parser. All of them must come before anything else.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let (line, headless) = self.text().map_or((1, false), |text| {
            let line = text.line(span.start);
            (line, text.content(line).1.trim_start().starts_with('['))
        });
        self.broken.insert((self.file, line));
        if headless {
            self.headless.insert(self.file);
        }
        let (message, remedy) = explain(error.message());
        let _ = self.push(&span, &message, remedy);
    }

    /// Something is wrong with what stands at a place.
    pub(super) fn add(&mut self, span: &Span, message: impl AsRef<str>, remedy: impl AsRef<str>) {
        if self.is_sound(span) {
            let _ = self.push(span, message.as_ref(), remedy.as_ref());
        }
    }

    /// Something is odd with what stands at a place: the policy loads all the same.
    pub(super) fn warn(&mut self, span: &Span, message: impl AsRef<str>, remedy: impl AsRef<str>) {
        let Some(text) = self.text().filter(|_| self.warnings.len() < MOST_SHOWN) else { return };
        let place = text.place(span);
        let finding = Finding::at(text.path(), place, message.as_ref(), remedy.as_ref());
        self.warnings.push(finding.in_file(self.file).into_warning());
    }

    /// The same, of a place remembered.
    pub(super) fn warn_at(
        &mut self,
        mark: &Mark,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        self.enter(mark.file);
        self.warn(&mark.span, message, remedy);
    }

    /// The warnings so far.
    pub(super) fn take_warnings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.warnings)
    }

    /// Something is wrong with what stands at a place remembered.
    pub(super) fn add_at(
        &mut self,
        mark: &Mark,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        self.enter(mark.file);
        self.add(&mark.span, message, remedy);
    }

    /// What stands at a place names something that is declared nowhere, as far as every text can be read. The remedy is asked
    /// for only if it is shown.
    pub(super) fn add_undeclared(
        &mut self,
        span: &Span,
        message: impl AsRef<str>,
        remedy: impl FnOnce() -> String,
    ) {
        if self.headless.is_empty() {
            // Looking for what was meant takes time, and nobody would read it.
            let remedy = if self.is_full() { String::new() } else { remedy() };
            self.add(span, message, remedy);
        }
    }

    /// Something that may stand only once stands at a second place; `first` is where it stood before.
    pub(super) fn add_twice(
        &mut self,
        span: &Span,
        first: &Mark,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        if self.is_sound(span) {
            let place =
                self.texts.get(first.file).map(|text| (text.path(), text.place(&first.span)));
            if !self.push(span, message.as_ref(), remedy.as_ref()) {
                return;
            }
            if let (Some((path, place)), Some(finding)) = (place, self.findings.pop()) {
                self.findings.push(finding.and_at(path, place, "first given here"));
            }
        }
    }

    /// Something is missing from what stands at a place. Where the syntax is broken it may be there all the same.
    pub(super) fn add_missing(
        &mut self,
        span: &Span,
        message: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        if !self.broken.iter().any(|(file, _)| *file == self.file) {
            self.add(span, message, remedy);
        }
    }

    /// What to call something that begins at a place and has no name, as in "rule at line 7".
    pub(super) fn name_by_line(&self, noun: &str, span: &Span) -> String {
        let line = self.line(span);
        match self.text().map(|text| text.path().rsplit('/').next().unwrap_or_default()) {
            Some(file) if !self.is_in_main_file() => format!("{noun} at line {line} of {file}"),
            _ => format!("{noun} at line {line}"),
        }
    }

    /// The findings so far, if there are any.
    pub(super) fn take(&mut self) -> Option<Findings> {
        let findings = Findings::new(std::mem::take(&mut self.findings))?;
        Some(findings.and_more(std::mem::take(&mut self.more)))
    }

    /// Returns the one finding for which the policy is refused unread.
    pub(super) fn refusal(&mut self, span: &Span, message: &str, remedy: &str) -> Findings {
        let _ = self.push(span, message, remedy);
        self.take().unwrap_or_else(|| Finding::about_file("policy", message, remedy).into())
    }

    /// Whether further findings are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() >= MOST_SHOWN
    }

    /// The rest of the text that is being read is not looked at: what it would declare is not known.
    pub(super) fn leave_unread(&mut self) {
        self.headless.insert(self.file);
    }

    fn is_sound(&self, span: &Span) -> bool {
        !self.headless.contains(&self.file) && !self.broken.contains(&(self.file, self.line(span)))
    }

    fn line(&self, span: &Span) -> usize {
        self.text().map_or(1, |text| text.line(span.start))
    }

    fn text(&self) -> Option<&'t Text<'t>> {
        self.texts.get(self.file)
    }

    /// Adds a finding; returns whether there was room for it.
    fn push(&mut self, span: &Span, message: &str, remedy: &str) -> bool {
        let Some(text) = self.text() else { return false };
        if self.is_full() {
            self.more += 1;
            return false;
        }
        let finding = Finding::at(text.path(), text.place(span), message, remedy);
        self.findings.push(finding.in_file(self.file));
        true
    }
}

/// What the parser says, and what to do about it.
fn explain(message: &str) -> (String, &'static str) {
    match message {
        "duplicate key" => (
            "syntax error: this key or table is given twice".to_owned(),
            "remove one of the two; if it is a rule, begin it with [[rules]]",
        ),
        _ => {
            (format!("syntax error: {message}"), "the file is written in TOML: see https://toml.io")
        }
    }
}
