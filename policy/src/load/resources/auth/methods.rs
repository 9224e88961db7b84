//! Reads `methods`: how a server may ask for a password.

use crate::load::reader::{Expected, Section};
use crate::load::report::Report;
use crate::load::suggest::suggest;

/// The key.
pub(super) const METHODS: &str = "methods";

/// Returns the methods, each once; those of `known` that stand there, or the first if the key does not.
pub(super) fn methods<T: Copy + PartialEq>(
    section: Section<'_, '_>,
    write: &'static str,
    known: &[(&'static str, T)],
    report: &mut Report<'_>,
) -> Vec<T> {
    let Some(words) = section.strings(Expected { key: METHODS, write }, report) else {
        return known.first().map(|(_, method)| *method).into_iter().collect();
    };
    let mut methods = Vec::new();
    for (word, span) in words {
        match known.iter().find(|(name, _)| *name == word) {
            Some((_, method)) if methods.contains(method) => {}
            Some((_, method)) => methods.push(*method),
            None => {
                let remedy = suggest(word, known.iter().map(|(name, _)| *name), "write one of");
                report.add(&span, format!("`methods` cannot have \"{word}\""), remedy);
            }
        }
    }
    methods
}
