//! Reads the file as a whole: its version, and its tables in the order in which they refer to each other.

use toml::de::DeTable;

use super::accounts::Accounts;
use super::declared::Declared;
use super::reader::{Expected, Section, Value, number, wrong_type};
use super::report::{Report, Span};
use super::resources::Resources;
use super::rules::Rules;
use super::settings;
use super::tags::Tags;
use crate::policy::Parts;

const KEYS: [&str; 5] = ["version", "broker", "tags", "resources", "rules"];

/// The only version of the language so far.
const VERSION: i128 = 1;

const BROKER: Expected = Expected { key: "broker", write: "the settings under [broker]" };
const TAGS: Expected = Expected { key: "tags", write: "each tag under [tags.NAME]" };
const RESOURCES: Expected =
    Expected { key: "resources", write: "each resource under [resources.NAME]" };
const RULES: Expected = Expected { key: "rules", write: "each rule under [[rules]]" };

/// Where to point when something is missing from the file.
const START: Span = 0..0;

/// Everything that could be read. It makes a policy only if nothing was reported.
pub(super) fn read(
    root: &DeTable<'_>,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Parts {
    let file = Section { what: "the file", name: &START, table: root };
    file.refuse_unknown_keys(&KEYS, report);
    check_version(file, report);
    let mut declared = Declared::default();
    Parts {
        settings: broker(file, accounts, report),
        tags: tags(file, &mut declared, report),
        resources: resources(file, &mut declared, report),
        rules: rules(file, &declared, accounts, report),
    }
}

fn check_version(file: Section<'_, '_>, report: &mut Report<'_>) {
    const WRITE: Expected = Expected { key: "version", write: "`version = 1`, without quotes" };
    let Some(value) = file.get(WRITE.key) else {
        report.add_missing(
            &START,
            "the file has no `version`",
            "begin the file with the line `version = 1`",
        );
        return;
    };
    let Some(integer) = value.get_ref().as_integer() else {
        wrong_type(value, WRITE, report);
        return;
    };
    if number(integer) != Some(VERSION) {
        let message = format!("version {integer} of the language is not supported");
        report.add(
            &value.span(),
            message,
            "write `version = 1`, or run a broker that knows this version",
        );
    }
}

fn broker(
    file: Section<'_, '_>,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> crate::Settings {
    let (Some(table), Some(name)) = (table(file, BROKER, report), file.key_span(BROKER.key)) else {
        return crate::Settings::default();
    };
    settings::read(Section { what: "[broker]", name: &name, table }, accounts, report)
}

fn tags(
    file: Section<'_, '_>,
    declared: &mut Declared,
    report: &mut Report<'_>,
) -> Vec<crate::TagSettings> {
    let mut tags = Tags::new(declared);
    for (name, span, value) in named(file, TAGS, report) {
        match inner_table(value, TAGS, report) {
            None => tags.declare(name),
            Some(table) => {
                let what = format!("[tags.{name}]");
                tags.read(name, Section { what: &what, name: &span, table }, report);
            }
        }
    }
    tags.finish()
}

fn resources(
    file: Section<'_, '_>,
    declared: &mut Declared,
    report: &mut Report<'_>,
) -> Vec<crate::Resource> {
    let mut resources = Resources::new(declared);
    for (name, span, value) in named(file, RESOURCES, report) {
        match inner_table(value, RESOURCES, report) {
            None => resources.declare(name),
            Some(table) => {
                let what = format!("[resources.{name}]");
                resources.read(name, Section { what: &what, name: &span, table }, report);
            }
        }
    }
    resources.finish()
}

fn rules(
    file: Section<'_, '_>,
    declared: &Declared,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Vec<crate::rule::Rule> {
    let mut rules = Rules::new(declared, accounts);
    let Some(value) = file.get(RULES.key) else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        wrong_type(value, RULES, report);
        return Vec::new();
    };
    for value in list.iter() {
        if let Some(table) = inner_table(value, RULES, report) {
            rules.read(Section { what: "this rule", name: &value.span(), table }, report);
        }
    }
    rules.finish()
}

/// The tables of a table, in the order of the file.
fn named<'a, 't>(
    file: Section<'a, 't>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Vec<(&'a str, Span, &'a Value<'t>)> {
    let Some(table) = table(file, expected, report) else { return Vec::new() };
    let mut found: Vec<_> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    found.sort_by_key(|(_, span, _)| span.start);
    found
}

fn table<'a, 't>(
    file: Section<'a, 't>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<&'a DeTable<'t>> {
    inner_table(file.get(expected.key)?, expected, report)
}

fn inner_table<'a, 't>(
    value: &'a Value<'t>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Option<&'a DeTable<'t>> {
    let found = value.get_ref().as_table();
    if found.is_none() {
        wrong_type(value, expected, report);
    }
    found
}
