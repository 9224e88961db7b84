//! From the text of a policy file to a policy, or to everything that is wrong with it.
//!
//! The text is parsed once into a tree that keeps the place of every key and value. Each part of the language has a
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
use crate::{Findings, Names, Policy};
use accounts::Accounts;
use report::Report;

/// Loads the text of a policy file. `path` is what the findings call it; no file is opened.
///
/// # Errors
/// Everything that is wrong with the text. Where its syntax is broken, what cannot be judged for that reason is left
/// out; the rest is reported too.
pub fn load(path: &str, text: &str, names: &dyn Names) -> Result<Policy, Findings> {
    let source = Text::new(path, text);
    let mut report = Report::new(&source);
    let (root, errors) = DeTable::parse_recoverable(text);
    errors.iter().for_each(|error| report.syntax(error));
    let parts = document::read(root.get_ref(), &mut Accounts::new(names), &mut report);
    report.finish().map_or_else(|| Ok(parts.assemble()), Err)
}
