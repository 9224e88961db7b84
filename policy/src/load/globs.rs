//! Reads the patterns of units, control groups and labels, and refuses those that nothing can match.

use super::bounds::list_fits;
use super::reader::{Expected, Section, string};
use super::report::{Report, Span};
use crate::glob::{Glob, Star, TOO_LONG};

pub(super) const UNIT: Expected =
    Expected { key: "unit", write: "a unit's name in quotes, such as \"vpn.service\"" };
pub(super) const CGROUP: Expected =
    Expected { key: "cgroup", write: "a path in quotes, such as \"/machine.slice/**\"" };
pub(super) const LABEL: Expected =
    Expected { key: "label", write: "a security label in quotes, as the kernel writes it" };

/// The kinds of unit that processes run in.
const WITH_PROCESSES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The other kinds, as systemd.unit(5) lists them.
const WITHOUT: [&str; 6] = [".slice", ".timer", ".path", ".target", ".device", ".automount"];

const LONGEST_UNIT: usize = 255;

/// What is wrong with a text, and what to do.
pub(super) type Wrong = (String, String);

/// The patterns of one condition, which is one text or a list of them. `None` if it is not there.
pub(super) fn read(
    section: Section<'_, '_>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<Vec<Glob>> {
    let value = section.get(expected.key)?;
    let Some(list) = value.get_ref().as_array() else {
        let text = string(value, expected, report);
        let glob = text.and_then(|text| glob(text, &value.span(), expected, report));
        return Some(glob.into_iter().collect());
    };
    if list.is_empty() {
        let message = format!("this rule covers nobody: its `{}` is empty", expected.key);
        report.add(&value.span(), message, format!("write {}", expected.write));
    }
    if !list_fits(list.len(), expected.key, &value.span(), report) {
        return None;
    }
    let globs = list.iter().filter_map(|item| {
        let text = string(item, expected, report)?;
        glob(text, &item.span(), expected, report)
    });
    Some(globs.collect())
}

fn glob(text: &str, span: &Span, expected: Expected, report: &mut Report<'_>) -> Option<Glob> {
    match check(text, expected.key) {
        Some((message, remedy)) => {
            report.add(span, message, remedy);
            None
        }
        None if expected.key == CGROUP.key => Some(Glob::new(text, Star::WithinComponent)),
        None => Some(Glob::new(text, Star::Anything)),
    }
}

/// What is wrong with a pattern for this key, if anything.
pub(super) fn check(text: &str, key: &str) -> Option<Wrong> {
    if text.is_empty() {
        return Some((format!("`{key}` cannot be empty"), "fill it in, or remove it".to_owned()));
    }
    if text.contains(char::is_control) {
        let message = format!("`{key}` contains a control character");
        return Some((message, "remove the control character: no value has one".to_owned()));
    }
    if text.len() >= TOO_LONG {
        let message = format!("`{key}` is too long");
        return Some((message, format!("write at most {} bytes", TOO_LONG - 1)));
    }
    match key {
        "unit" => check_unit(text),
        "cgroup" => check_cgroup(text),
        _ => None,
    }
}

fn check_unit(text: &str) -> Option<Wrong> {
    let message = format!("no process can be in a unit \"{text}\"");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\@-*".contains(&byte);
    if !text.bytes().all(allowed) {
        let remedy = "a unit's name has letters, digits and `:_.\\@-`; for a path write `cgroup =`";
        return Some((message, remedy.to_owned()));
    }
    if !text.contains('*') && text.len() > LONGEST_UNIT {
        return Some((message, format!("a unit's name has at most {LONGEST_UNIT} bytes")));
    }
    let tail = text.rsplit('*').next().unwrap_or_default();
    let possible = |kind: &&str| {
        let complete =
            tail.strip_suffix(*kind).is_some_and(|name| !(name.is_empty() && text == tail));
        complete || (text != tail && kind.ends_with(tail))
    };
    if WITH_PROCESSES.iter().any(possible) {
        return None;
    }
    let remedy = match WITHOUT.iter().find(|kind| tail.ends_with(**kind)) {
        Some(&".slice") => {
            format!("for all of a slice write `cgroup = \"{}/**\"`", slice_path(text))
        }
        Some(kind) => format!("a {kind} starts another unit: name that one"),
        None => format!("a unit with processes ends in {}", WITH_PROCESSES.join(", ")),
    };
    Some((message, remedy))
}

/// The path of a slice's control group: `a-b.slice` lies in `a.slice`.
fn slice_path(slice: &str) -> String {
    let name = slice.strip_suffix(".slice").unwrap_or(slice);
    let outer = name.match_indices('-').filter_map(|(at, _)| name.get(..at));
    outer.chain([name]).map(|name| format!("/{name}.slice")).collect()
}

fn check_cgroup(text: &str) -> Option<Wrong> {
    let message = format!("no process can be in a control group \"{text}\"");
    let Some(path) = text.strip_prefix('/') else {
        return Some((message, "begin with `/`: the pattern is about the whole path".to_owned()));
    };
    if path.is_empty() {
        return None;
    }
    let empty_or_dots = |name: &str| matches!(name, "" | "." | "..");
    path.split('/').any(empty_or_dots).then(|| {
        let remedy = "remove `//`, `.`, `..` and a `/` at the end: the kernel writes none";
        (message, remedy.to_owned())
    })
}
