//! From the texts of a policy's files to a policy, or to everything that is wrong with them.
//!
//! Each text is parsed once into a tree that keeps the place of every key and value. Each part of the language has a
//! reader of its own; none of them stops at the first mistake, and all of them report to the same [`Report`].

mod accounts;
mod amount;
mod bounds;
mod conditions;
mod declared;
mod document;
mod elsewhere;
mod globs;
mod policy_tests;
mod reader;
mod report;
mod resources;
mod rules;
mod settings;
mod slots;
mod suggest;
mod tags;
mod times;

use toml::Spanned;
use toml::de::DeTable;

use crate::excerpt::Text;
use crate::{Finding, Findings, Names, Policy};
use accounts::Accounts;
use policy_tests::PolicyTest;
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
    let Read { policy, tests, lacks_names } = read(sources, names, &mut report)?;
    policy_tests::run(&tests, &policy, lacks_names, &mut report);
    let warnings = report.take_warnings();
    report.take().map_or(Ok(policy.with_warnings(warnings)), Err)
}

/// Loads a policy without making its tests: for programs that only report what it declares, and may
/// not know its users.
///
/// # Errors
/// As [`load`], but for tests that would fail.
pub fn load_untested(sources: &[SourceText], names: &dyn Names) -> Result<Policy, Findings> {
    let texts = texts(sources);
    let mut report = Report::new(&texts);
    let policy = read(sources, names, &mut report)?.policy;
    Ok(policy.with_warnings(report.take_warnings()))
}

/// The policy, and what it must pass.
struct Read {
    policy: Policy,
    tests: Vec<PolicyTest>,
    /// Whether rules name accounts that are not there, or not known.
    lacks_names: bool,
}

fn read(
    sources: &[SourceText],
    names: &dyn Names,
    report: &mut Report<'_>,
) -> Result<Read, Findings> {
    if sources.is_empty() {
        return Err(Finding::about_file("policy", "there is no policy file", "name one").into());
    }
    if let Some((file, place)) = bounds::overflow(sources.iter().map(|source| source.text.as_str()))
    {
        report.enter(file);
        return Err(report.refusal(
            &place,
            "up to here the policy has too many keys and values",
            "make it smaller",
        ));
    }
    let parsed: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(file, source)| {
            report.enter(file);
            parse(&source.text, report)
        })
        .collect();
    let roots: Vec<_> = parsed.iter().map(|root| root.get_ref()).collect();
    let mut accounts = Accounts::new(names);
    let draft = document::read(&roots, &mut accounts, report);
    let lacks_names = accounts.lack_some();
    match report.take() {
        Some(findings) => Err(findings),
        None => Ok(Read { policy: draft.parts.assemble(), tests: draft.tests, lacks_names }),
    }
}

/// The longest text of which every syntax error is reported, and not only the first one.
const RECOVERED: usize = 64 << 10;

/// What a text holds, as far as it can be read.
///
/// The parser keeps each error of a broken text, and there can be one for every character.
fn parse<'t>(text: &'t str, report: &mut Report<'_>) -> Spanned<DeTable<'t>> {
    let error = match DeTable::parse(text) {
        Ok(root) => return root,
        Err(error) => error,
    };
    if text.len() > RECOVERED || report.is_full() {
        report.syntax(&error);
        report.leave_unread();
        return Spanned::new(0..0, DeTable::new());
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    errors.iter().for_each(|error| report.syntax(error));
    root
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
