//! From the texts of a policy's files to a policy, or to everything that is wrong with them.
//!
//! Each text is parsed once into a tree that keeps the place of every key and value. Each part of the language has a
//! reader of its own; none of them stops at the first mistake, and all of them report to the same [`Report`].

mod accounts;
mod amount;
mod conditions;
mod declared;
mod document;
mod globs;
mod near;
mod reader;
mod report;
mod resources;
mod rules;
mod settings;
mod slots;
mod tags;
mod times;

use toml::de::DeTable;

use crate::excerpt::Text;
use crate::{Finding, Findings, Names, Policy};
use accounts::Accounts;
use report::Report;

/// One file of a policy: its text, and what findings call it. No file is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Where it came from.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// Loads a policy: the main file, which comes first, and its drop-ins.
///
/// They are read as one. Only a finding, and the id of a rule without one, tells where something stands; the order of the
/// drop-ins makes no difference to any verdict.
///
/// # Errors
/// Everything that is wrong with any of them. Where the syntax is broken, what cannot be judged for that reason is left
/// out; the rest is reported too.
pub fn load(sources: &[SourceText], names: &dyn Names) -> Result<Policy, Findings> {
    if sources.is_empty() {
        return Err(Finding::about_file("policy", "there is no policy file", "name one").into());
    }
    let texts: Vec<_> =
        sources.iter().map(|source| Text::new(&source.path, &source.text)).collect();
    let mut report = Report::new(&texts);
    let roots: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(file, source)| {
            report.enter(file);
            let (root, errors) = DeTable::parse_recoverable(&source.text);
            errors.iter().for_each(|error| report.syntax(error));
            root
        })
        .collect();
    let roots: Vec<_> = roots.iter().map(|root| root.get_ref()).collect();
    let parts = document::read(&roots, &mut Accounts::new(names), &mut report);
    report.finish().map_or_else(|| Ok(parts.assemble()), Err)
}

impl SourceText {
    /// A text and what to call it.
    #[must_use]
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}
