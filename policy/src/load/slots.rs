//! Reads the `slots` of a rule.

use super::declared::{Declared, index, is_number};
use super::reader::{Expected, Section};
use super::report::{Report, Span};
use super::suggest::suggest;
use crate::pattern::Pattern;

pub(super) const KEY: &str = "slots";

const SLOTS: Expected =
    Expected { key: KEY, write: "a list in quotes, such as [\"tun\", \"web/0-99\", \"web/*\"]" };

const FORMS: &str = "write a resource's name, \"tag/7\", \"tag/0-99\", \"tag/*\" or \"*\"";

/// What a rule covers. `None` if there is a finding about any of it.
pub(super) fn read(
    section: Section<'_, '_>,
    declared: &Declared,
    report: &mut Report<'_>,
) -> Option<Vec<Pattern>> {
    let Some(value) = section.get(SLOTS.key) else {
        let remedy = format!("add a line `slots =` with {}", SLOTS.write);
        report.add_missing(section.name, "this rule covers nothing: it has no `slots`", remedy);
        return None;
    };
    let texts = section.strings(SLOTS, report)?;
    let given = value.get_ref().as_array().map_or(0, |list| list.len());
    if given == 0 {
        let message = "this rule covers nothing: its `slots` are empty";
        report.add(&value.span(), message, format!("write {}", SLOTS.write));
    }
    let patterns: Vec<_> =
        texts.iter().filter_map(|(text, span)| pattern(text, span, declared, report)).collect();
    (given > 0 && patterns.len() == given).then_some(patterns)
}

/// What one text covers, unless there is a finding about it.
pub(super) fn pattern(
    text: &str,
    span: &Span,
    declared: &Declared,
    report: &mut Report<'_>,
) -> Option<Pattern> {
    if text == "*" {
        return Some(Pattern::Everything);
    }
    match text.split_once('/') {
        Some((tag, part)) => in_tag(text, tag, part, span, declared, report),
        None => resource(text, span, declared, report),
    }
}

fn resource(
    name: &str,
    span: &Span,
    declared: &Declared,
    report: &mut Report<'_>,
) -> Option<Pattern> {
    if let Some(slot) = declared.resources.get(name) {
        return slot.map(Pattern::slot);
    }
    let remedy = || {
        if declared.tags.contains_key(name) {
            format!("to name every slot of the tag, write \"{name}/*\"")
        } else {
            suggest(name, declared.resources.keys().map(String::as_str), "declared resources")
        }
    };
    report.add_undeclared(span, format!("there is no resource \"{name}\""), remedy);
    None
}

/// A part of a tag: a number, a range, or all of it.
fn in_tag(
    text: &str,
    tag: &str,
    part: &str,
    span: &Span,
    declared: &Declared,
    report: &mut Report<'_>,
) -> Option<Pattern> {
    let (first, last) = match part.split_once('-') {
        Some((first, last)) => (first, last),
        None => (part, part),
    };
    if part != "*" && !(is_number(first) && is_number(last)) {
        report.add(span, format!("\"{text}\" is no pattern"), FORMS);
        return None;
    }
    let tag = declared.tag(tag, span, report);
    if part == "*" {
        return tag.map(Pattern::whole);
    }
    let (first, last) = (index(first, span, report)?, index(last, span, report)?);
    if first > last {
        report.add(
            span,
            format!("the range in \"{text}\" runs backwards"),
            "write the smaller number first",
        );
        return None;
    }
    tag.map(|tag| Pattern::Range { tag, first, last })
}
