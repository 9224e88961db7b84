//! The names that a file declares, for the parts of it that refer to them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::report::{Mark, Report, Span};
use super::suggest::suggest;
use crate::{Index, Slot, Tag};

/// A name longer than this is refused.
const LONGEST_NAME: usize = 64;

/// Tags and resources by name. A name is there, without a value, even where something is wrong with what it names:
/// that is reported once, and not again wherever the name is used.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) tags: BTreeMap<String, Option<Tag>>,
    pub(super) resources: BTreeMap<String, Option<Slot>>,
}

/// Things that may be given only once, and where each was given.
pub(super) struct Once<T>(HashMap<T, Mark>);

impl Declared {
    /// The tag of this name. `None` if there is a finding about it.
    pub(super) fn tag(&self, name: &str, span: &Span, report: &mut Report<'_>) -> Option<Tag> {
        match self.tags.get(name) {
            Some(tag) => *tag,
            None => {
                report.add_undeclared(span, format!("there is no tag \"{name}\""), || {
                    self.tag_remedy(name)
                });
                None
            }
        }
    }

    fn tag_remedy(&self, name: &str) -> String {
        let by_number = name.parse().ok().and_then(|number| {
            self.tags.iter().find(|(_, tag)| **tag == Some(number)).map(|(declared, _)| declared)
        });
        match by_number {
            Some(declared) => format!("write the tag's name: `{declared}`"),
            None => suggest(name, self.tags.keys().map(String::as_str), "declared tags"),
        }
    }
}

/// An index written behind the slash.
pub(super) fn index(text: &str, span: &Span, report: &mut Report<'_>) -> Option<Index> {
    let found = text.parse().ok();
    if found.is_none() && is_number(text) {
        let message = format!("slot {text} lies outside its tag");
        report.add(
            span,
            message,
            format!("the slots of a tag are numbered from 0 to {}", Index::MAX),
        );
    }
    found
}

/// Whether a text is a number, be it too large for a slot. `007` is none.
pub(super) fn is_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// Reports a name that could be confused with something else, or that nobody could type.
pub(super) fn check_name(name: &str, noun: &str, span: &Span, report: &mut Report<'_>) {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let continues = name
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || "._-".contains(character));
    if !begins || !continues || name.len() > LONGEST_NAME {
        let remedy = format!(
            "begin with a letter, use only letters, digits, `.`, `_` and `-`, and at most {LONGEST_NAME} characters"
        );
        report.add(span, format!("\"{name}\" cannot be the name of a {noun}"), remedy);
    }
}

impl<T: Hash + Eq> Once<T> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Takes down where something is given. `Some` is where it was given before.
    pub(super) fn give(&mut self, thing: T, here: Mark) -> Option<Mark> {
        let first = self.0.get(&thing).cloned();
        if first.is_none() {
            self.0.insert(thing, here);
        }
        first
    }
}
