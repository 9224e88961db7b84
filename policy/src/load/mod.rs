//! From the texts of a policy's files to a policy, or to everything that is wrong with them.
//!
//! Each text is parsed once into a tree that keeps the place of every key and value. Each part of the language has a
//! reader of its own; none of them stops at the first mistake, and all of them report to the same [`Report`].

mod accounts;
mod amount;
mod amounts;
mod cases;
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
use cases::Case;
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
/// They are read as one. The tests among them are made, and one that fails is a finding. Only a finding, and the id of a rule without one, tells where something stands; the order of the
/// drop-ins makes no difference to any verdict.
///
/// # Errors
/// Everything that is wrong with any of them. Where the syntax is broken, what cannot be judged for that reason is left
/// out; the rest is reported too.
pub fn load(sources: &[SourceText], names: &dyn Names) -> Result<Policy, Findings> {
    let texts = texts(sources);
    let mut report = Report::new(&texts);
    let (policy, cases) = read(sources, names, &mut report)?;
    cases.iter().for_each(|case| case.run(&policy, &mut report));
    report.take().map_or(Ok(policy), Err)
}

/// Loads a policy without making its tests: for whoever only wants to know what it declares, and may not know its users.
///
/// # Errors
/// As [`load`], but for tests that would fail.
pub fn load_untested(sources: &[SourceText], names: &dyn Names) -> Result<Policy, Findings> {
    read(sources, names, &mut Report::new(&texts(sources))).map(|(policy, _)| policy)
}

/// The policy, and what it must pass.
fn read(
    sources: &[SourceText],
    names: &dyn Names,
    report: &mut Report<'_>,
) -> Result<(Policy, Vec<Case>), Findings> {
    if sources.is_empty() {
        return Err(Finding::about_file("policy", "there is no policy file", "name one").into());
    }
    let mut parsed = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        report.enter(file);
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        errors.iter().for_each(|error| report.syntax(error));
        parsed.push(root);
    }
    let roots: Vec<_> = parsed.iter().map(|root| root.get_ref()).collect();
    let draft = document::read(&roots, &mut Accounts::new(names), report);
    amounts::check(&draft.parts, report);
    match report.take() {
        Some(findings) => Err(findings),
        None => Ok((draft.parts.assemble(), draft.cases)),
    }
}

fn texts(sources: &[SourceText]) -> Vec<Text<'_>> {
    sources.iter().map(|source| Text::new(&source.path, &source.text)).collect()
}

impl SourceText {
    /// A text and what to call it.
    #[must_use]
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}
