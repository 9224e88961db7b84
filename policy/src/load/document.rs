//! Reads the files as a whole: their versions, and their tables in the order in which they refer to each other.

use toml::de::DeTable;

use super::accounts::Accounts;
use super::declared::Declared;
use super::policy_tests::{PolicyTest, PolicyTests};
use super::reader::{Expected, Section, Value, number, wrong_type};
use super::report::{Report, Span};
use super::resources::Resources;
use super::rules::Rules;
use super::settings;
use super::tags::Tags;
use crate::policy::Parts;

const KEYS: [&str; 6] = ["version", "broker", "tags", "resources", "rules", "tests"];

/// The only version of the language so far.
const VERSION: i128 = 1;

const BROKER: Expected = Expected { key: "broker", write: "the settings under [broker]" };
const TAGS: Expected = Expected { key: "tags", write: "each tag under [tags.NAME]" };
const RESOURCES: Expected =
    Expected { key: "resources", write: "each resource under [resources.NAME]" };
const RULES: Expected = Expected { key: "rules", write: "each rule under [[rules]]" };
const TESTS: Expected = Expected { key: "tests", write: "each test under [[tests]]" };

/// Where to point when something is missing from the file.
const START: Span = 0..0;

/// What becomes a policy if nothing was reported, and what it must then pass.
pub(super) struct Draft {
    pub(super) parts: Parts,
    pub(super) tests: Vec<PolicyTest>,
}

/// Everything that could be read. It makes a policy only if nothing was reported.
pub(super) fn read(
    roots: &[&DeTable<'_>],
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Draft {
    let section = |root| Section { what: "the file", name: &START, table: root };
    let files: Vec<_> = roots.iter().map(|root| section(*root)).collect();
    each(&files, report, |file, report| {
        file.refuse_unknown_keys(&KEYS, report);
        check_version(file, report);
    });
    let mut declared = Declared::default();
    let settings = settings(&files, accounts, report);
    let tags = tags(&files, &mut declared, report);
    let resources = resources(&files, &mut declared, report);
    let rules = rules(&files, &declared, accounts, report);
    let mut reader = PolicyTests::new(&declared, &rules, accounts);
    each(&files, report, |file, report| {
        for (span, table) in listed(file, TESTS, report) {
            reader.read(Section { what: "this test", name: &span, table }, report);
        }
    });
    let tests = reader.finish();
    let (number, names) = (tests.len(), accounts.names());
    Draft { parts: Parts { settings, tags, resources, rules, tests: number, names }, tests }
}

/// Goes through the files. Findings are about the file at hand.
fn each<'a, 't>(
    files: &[Section<'a, 't>],
    report: &mut Report<'_>,
    mut read: impl FnMut(Section<'a, 't>, &mut Report<'_>),
) {
    for (number, file) in files.iter().enumerate() {
        report.enter(number);
        read(*file, report);
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

/// The settings, which only the main file may have.
fn settings(
    files: &[Section<'_, '_>],
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> crate::Settings {
    let mut found = None;
    each(files, report, |file, report| {
        let Some(name) = file.key_span(BROKER.key) else { return };
        if report.is_in_main_file() {
            found = table(file, BROKER, report).map(|table| {
                let section = Section { what: super::elsewhere::BROKER, name: &name, table };
                settings::read(section, accounts, report)
            });
        } else {
            let message = "the table [broker] is not allowed in a drop-in file";
            report.add(&name, message, "move it to the main file");
        }
    });
    found.unwrap_or_default()
}

fn tags(
    files: &[Section<'_, '_>],
    declared: &mut Declared,
    report: &mut Report<'_>,
) -> Vec<crate::TagSettings> {
    let mut tags = Tags::new(declared);
    each(files, report, |file, report| {
        for (name, span, value) in named(file, TAGS, report) {
            match inner_table(value, TAGS, report) {
                None => tags.declare(name),
                Some(table) => {
                    let what = format!("[tags.{name}]");
                    tags.read(name, Section { what: &what, name: &span, table }, report);
                }
            }
        }
    });
    tags.finish()
}

fn resources(
    files: &[Section<'_, '_>],
    declared: &mut Declared,
    report: &mut Report<'_>,
) -> Vec<crate::Resource> {
    let mut resources = Resources::new(declared);
    each(files, report, |file, report| {
        for (name, span, value) in named(file, RESOURCES, report) {
            match inner_table(value, RESOURCES, report) {
                None => resources.declare(name),
                Some(table) => {
                    let what = format!("[resources.{name}]");
                    resources.read(name, Section { what: &what, name: &span, table }, report);
                }
            }
        }
    });
    resources.finish()
}

fn rules(
    files: &[Section<'_, '_>],
    declared: &Declared,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Vec<crate::rule::Rule> {
    let mut rules = Rules::new(declared, accounts);
    each(files, report, |file, report| {
        for (span, table) in listed(file, RULES, report) {
            rules.read(Section { what: "this rule", name: &span, table }, report);
        }
    });
    rules.finish()
}

/// The tables of a list of tables.
fn listed<'a, 't>(
    file: Section<'a, 't>,
    expected: Expected,
    report: &mut Report<'_>,
) -> Vec<(Span, &'a DeTable<'t>)> {
    let Some(value) = file.get(expected.key) else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        wrong_type(value, expected, report);
        return Vec::new();
    };
    let table = |value: &'a Value<'t>| Some((value.span(), inner_table(value, expected, report)?));
    list.iter().filter_map(table).collect()
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
