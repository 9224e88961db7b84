//! What the documentation shows is what the programs take: its policies load, its commands parse,
//! its options exist, its links lead somewhere.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_policy::{Gid, LookupError, Names, SourceText, Uid, load};
use fdbroker_tests::{Daemon, Example, is_root};

/// A machine that has every user and group.
#[derive(Default)]
struct EveryName(RefCell<Vec<String>>);

impl EveryName {
    /// Each name has its own number.
    fn number(&self, name: &str) -> u32 {
        let mut known = self.0.borrow_mut();
        let place = known.iter().position(|it| it == name).unwrap_or_else(|| {
            known.push(name.to_owned());
            known.len() - 1
        });
        u32::try_from(place).unwrap() + 1
    }
}

impl Names for EveryName {
    fn user(&self, name: &str) -> Result<Option<Uid>, LookupError> {
        Ok(Some(Uid(self.number(name))))
    }

    fn group(&self, name: &str) -> Result<Option<Gid>, LookupError> {
        Ok(Some(Gid(self.number(name))))
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(super) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn pages() -> Vec<PathBuf> {
    let top = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from);
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap());
    top.into_iter().chain(docs.map(|entry| Path::new("docs").join(entry.file_name()))).collect()
}

/// The blocks of a page that are marked with just this word.
fn blocks(page: &str, mark: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(mark) {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        } else if line.starts_with("```") {
            lines.by_ref().find(|line| *line == "```");
        }
    }
    blocks
}

/// The commands that start with `program` in the shell blocks and tables of a page.
fn commands(page: &str, program: &str) -> Vec<String> {
    let shell = blocks(page, "sh").join("\n");
    let in_blocks = shell.lines().map(|line| line.split("  #").next().unwrap_or(line).to_owned());
    let in_tables = page.lines().filter(|line| line.starts_with('|')).flat_map(|line| {
        line.split('`').skip(1).step_by(2).map(|code| code.replace("\\|", "|")).collect::<Vec<_>>()
    });
    in_blocks
        .chain(in_tables)
        .filter(|command| command.starts_with(&format!("{program} ")))
        .map(|command| command.trim().to_owned())
        .collect()
}

#[test]
fn every_policy_of_the_readme_and_the_upgrader_and_the_example_for_systemd_load() {
    let pages = [read("README.md"), read("docs/upgrader.md")].concat();
    let policies = blocks(&pages, "toml");
    let policies: Vec<_> =
        policies.into_iter().filter(|text| text.starts_with("version")).collect();
    assert!(!policies.is_empty(), "the README shows a policy");
    for text in policies.iter().chain([&read("systemd/policy.example.toml")]) {
        if let Err(findings) = load(&[SourceText::new("policy.toml", text)], &EveryName::default())
        {
            panic!("{findings}");
        }
    }
}

#[test]
fn the_policy_that_is_installed_grants_nothing() {
    let text = read("systemd/policy.default.toml");
    let policy = load(&[SourceText::new("policy.toml", &text)], &EveryName::default()).unwrap();
    assert_eq!((policy.rule_count(), policy.resources().len()), (0, 0));
}

/// Newcomers read it from the top: what is longer has a page of its own.
#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 200);
}

#[test]
fn every_command_of_the_readme_and_of_its_page_is_one() {
    let found: Vec<_> =
        commands(&[read("README.md"), read("docs/command.md")].concat(), "fdbroker")
            .into_iter()
            // Capitals and dots stand for something else.
            .filter(|command| !command.contains(['…', '[']) && !command.contains("SLOT"))
            .filter(|command| !command.ends_with(" TAG"))
            .collect();
    assert!(found.len() >= 6, "the pages show commands: {found:?}");
    for command in found {
        let alone = command.split(" && ").next().and_then(|command| command.split(" > ").next());
        let words = alone.unwrap().split_whitespace();
        let parsed = fdbroker_cli::definition().try_get_matches_from(words);
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
}

#[test]
fn every_option_of_the_daemon_is_on_its_page_and_the_other_way_round() {
    let daemon = &fdbroker_tests::binaries::binaries().daemon;
    let help = std::process::Command::new(daemon).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let page = read("docs/command.md");
    let section = page.split("## The daemon\n").nth(1).unwrap().split("## ").next().unwrap();
    let options = |text: &str| {
        let mut found: Vec<String> = text
            .split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
            .filter(|word| {
                word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic))
            })
            .map(str::to_owned)
            .collect();
        found.sort();
        found.dedup();
        found.retain(|option| !["--help", "--version"].contains(&option.as_str()));
        found
    };
    assert_eq!(options(&help), options(section));
}

#[test]
fn every_option_of_the_command_is_on_its_page() {
    let page = read("docs/command.md");
    let definition = fdbroker_cli::definition();
    let all = definition.get_subcommands().chain([&definition]);
    for option in all.flat_map(|command| command.get_arguments()).filter_map(|arg| arg.get_long()) {
        let hidden = ["help", "version"].contains(&option);
        assert!(
            hidden || page.contains(&format!("--{option}")),
            "--{option} is not in docs/command.md"
        );
    }
}

#[test]
fn every_line_of_the_status_is_explained() {
    const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
    let daemon = Daemon::with_policy(OPERATORS).start();
    let (page, manual) = (read("docs/errors.md"), read("man/fdbroker.1"));
    let said = daemon.says(&["status"]);
    assert!(said.contains("audit=none\n"), "{said}");
    for line in said.lines() {
        let (key, _) = line.split_once('=').unwrap();
        assert!(page.contains(&format!("| `{key}` |")), "docs/errors.md: {key}");
        assert!(manual.contains(&key.replace('_', "\\_")) || manual.contains(key), "man: {key}");
    }
}

#[test]
fn every_error_of_an_upgrade_is_on_its_page() {
    let (source, page) = (read("client/src/upgrader/error.rs"), read("docs/upgrader.md"));
    let body = source.split("pub enum UpgradeError {\n").nth(1).unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let variants = body.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.split([' ', '(', ',']).next()?;
        name.starts_with(char::is_uppercase).then_some(name)
    });
    let rows: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let variants: Vec<_> = variants.collect();
    assert!(variants.len() > 10, "{variants:?}");
    for name in variants {
        let row = format!("{name}` |");
        assert!(rows.iter().any(|line| line.starts_with(&row)), "{name} is not in the table");
    }
}

#[test]
fn every_page_of_docs_says_whom_it_is_for() {
    let pages = pages().into_iter().filter(|page| page.starts_with("docs"));
    for page in pages {
        let text = read(&page);
        let first = text.lines().nth(2).unwrap_or_default();
        assert!(first.starts_with("For "), "{}: {first}", page.display());
        let link = format!("({}", page.display());
        assert!(read("README.md").contains(&link), "README.md has no link to {}", page.display());
    }
}

#[test]
fn every_link_between_the_pages_leads_to_a_file() {
    for page in pages() {
        let text = read(&page);
        let directory = page.parent().unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            let outside = file.is_empty() || file.contains("://");
            assert!(
                outside || root().join(directory).join(file).exists(),
                "{}: {link} leads nowhere",
                page.display()
            );
        }
    }
}

/// A table of the policy: where it is described, and a file in which it has a key that is none.
const TABLES: [(&str, &str); 5] = [
    ("## `[broker]`", "version = 1\n[broker]\n"),
    ("## `[tags.NAME]`", "version = 1\n[tags.a]\n"),
    ("## `[resources.NAME]`", "version = 1\n[resources.a]\n"),
    ("## `[[rules]]`", "version = 1\n[[rules]]\n"),
    ("## `[[tests]]`", "version = 1\n[[tests]]\n"),
];

/// The keys that may stand where `text` ends.
fn keys(text: &str) -> Vec<String> {
    let text = format!("{text}no-such-key-in-any-version = 1\n");
    let source = [SourceText::new("policy.toml", &text)];
    let findings = load(&source, &EveryName::default()).expect_err("an unknown key");
    let remedy =
        findings.iter().find_map(|finding| finding.remedy.strip_prefix("keys known here:"));
    let remedy = remedy.unwrap_or_else(|| panic!("no list of keys: {findings}"));
    remedy.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_of_the_policy_is_on_its_page_and_in_its_manual_page() {
    let (page, manual) = (read("docs/policy.md"), read("man/fdbroker-policy.5"));
    for (heading, text) in TABLES {
        let keys = keys(text);
        assert!(keys.len() > 2, "{heading}: {keys:?}");
        let section = page.split(&format!("{heading}\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("docs/policy.md has no {heading}"));
        let section = section.split("\n## ").next().unwrap();
        let title = format!(".SH {}\n", heading.trim_start_matches("## ").replace('`', ""));
        let manual = manual.split(&title).nth(1).unwrap_or_else(|| panic!("no {title}"));
        let manual = manual.split("\n.SH ").next().unwrap();
        for key in keys {
            assert!(section.contains(&format!("\n| `{key}` |")), "{key} is not below {heading}");
            assert!(manual.contains(&format!(".TP\n\\fB{key}\\fR\n")), "{key}: not in {title}");
        }
    }
    for key in keys("version = 1\n") {
        let named = |heading: &str| {
            let heading = heading.trim_matches(['`', '[', ']']);
            heading == key || heading == format!("{key}.NAME")
        };
        let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
        assert!(headings.into_iter().any(named), "docs/policy.md has no heading for {key}");
    }
}

/// Everything in a text that could be a MESSAGE_ID.
fn message_ids(text: &str) -> BTreeSet<String> {
    let hexadecimal =
        |word: &&str| word.len() == 32 && word.chars().all(|it| it.is_ascii_hexdigit());
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    words.filter(hexadecimal).map(str::to_owned).collect()
}

#[test]
fn every_kind_of_record_has_its_message_id_in_the_catalog_and_on_the_pages() {
    let source = message_ids(&read("broker/src/log/record.rs"));
    assert_eq!(source.len(), 8, "{source:?}");
    for page in ["systemd/fdbroker.catalog", "docs/audit.md", "man/fdbrokerd.8"] {
        assert_eq!(message_ids(&read(page)), source, "{page}");
    }
    let catalog = read("systemd/fdbroker.catalog");
    let entries: BTreeSet<_> =
        catalog.lines().filter_map(|line| line.strip_prefix("-- ")).map(str::to_owned).collect();
    assert_eq!(entries, source);
    for entry in catalog.split("\n-- ").skip(1) {
        let (head, text) = entry.split_once("\n\n").expect("an empty line ends the head");
        assert!(head.contains("\nSubject: ") && head.contains("\nDefined-By: "), "{head}");
        assert!(!text.trim().is_empty(), "{head}");
    }
}

#[test]
fn the_page_shows_the_file_for_logrotate_as_it_is_installed() {
    let file = read("systemd/logrotate.conf");
    let file: Vec<_> = file.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(blocks(&read("docs/audit.md"), "text").contains(&file.join("\n")));
}

#[test]
fn the_examples_of_records_have_the_fields_of_records() {
    let page = read("docs/audit.md");
    let json = blocks(&page, "json");
    let text = blocks(&page, "text");
    let object = |line: &str| match serde_json::from_str(line).unwrap() {
        serde_json::Value::Object(object) => object,
        other => panic!("{other}"),
    };
    let (log, file) = (object(&json[0]), object(&json[1]));
    let policy = "[tags.t]\nid = 1\n[resources.latency]\nslot = \"t/0\"\ndevice = \"/dev/null\"\n\
                  [[rules]]\nid = \"anyone may read the latency limit\"\nallow = [\"get\"]\n\
                  slots = [\"latency\"]\nanyone = true\n";
    let records = |format: &'static str| {
        let builder = Daemon::with_policy(policy).log_format(format);
        let trail = builder.directory().join("audit");
        let daemon = builder.argument("--audit-file").argument(&trail).start();
        daemon.connect().get((1, 0)).descriptor();
        (daemon.log().text(), fs::read_to_string(&trail).unwrap())
    };
    let last_with = |text: &str, what: &str| {
        let line = text.lines().rfind(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("no {what} in {text}")).to_owned()
    };

    let (found, trail) = records("json");
    let found = object(&last_with(&found, "\"decision\""));
    assert_eq!(log.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    let found = object(&last_with(&trail, "\"decision\""));
    assert_eq!(file.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    assert_same_but_for_whom(&file, &found);

    let (found, _) = records("text");
    assert_eq!(names(&text[0]), names(&last_with(&found, " audit verdict=")));

    // The journal has the fields of the file, and its own; it is looked at where there is one.
    let journal: BTreeSet<_> =
        text[1].lines().map(|line| line.split('=').next().unwrap().to_owned()).collect();
    let mut expected: BTreeSet<_> = file.keys().cloned().collect();
    expected.remove("time");
    expected.insert("SYSLOG_IDENTIFIER".to_owned());
    assert_eq!(journal, expected);
}

/// The names of a line's fields, without what stands between quotation marks.
fn names(line: &str) -> Vec<String> {
    let unquoted: String = line.split('"').step_by(2).collect();
    let fields = unquoted.split_whitespace().filter_map(|word| word.split_once('='));
    fields.map(|(name, _)| name.to_owned()).collect()
}

type Object = serde_json::Map<String, serde_json::Value>;

fn assert_same_but_for_whom(example: &Object, found: &Object) {
    let changing =
        ["time", "MESSAGE", "FDBROKER_UID", "FDBROKER_GID", "FDBROKER_PID", "FDBROKER_UNIT"];
    for (key, value) in example.iter().filter(|(key, _)| !changing.contains(&key.as_str())) {
        assert_eq!(Some(value), found.get(key), "{key}");
    }
}

#[test]
fn every_message_between_the_brokers_processes_is_in_its_table() {
    let page = read("docs/protocol.md");
    for source in ["wire/src/control/mod.rs", "wire/src/control/handover.rs"] {
        let source = read(source);
        let constants = source.lines().filter_map(|line| line.split("const ").nth(1));
        let opcodes: Vec<_> = constants.filter_map(|text| text.split_once(": i16 = ")).collect();
        assert!(opcodes.len() > 10, "{opcodes:?}");
        for (name, number) in opcodes {
            let row = format!("\n| {} | {name} |", number.trim_end_matches(';'));
            assert!(page.contains(&row), "{name} is not in the table");
        }
    }
}

#[test]
fn every_field_of_a_record_is_in_the_table_of_fields() {
    let page = read("docs/audit.md");
    let table = page.split("## Fields").nth(1).unwrap().split("## Forms").next().unwrap();
    let sources = read("broker/src/audit/line.rs") + &read("broker/src/log/fields.rs");
    let is_name = |text: &&str| {
        ["FDBROKER_", "MESSAGE", "PRIORITY"].iter().any(|name| text.starts_with(name))
    };
    let fields: Vec<_> = sources.split('"').skip(1).step_by(2).filter(is_name).collect();
    assert!(fields.len() > 15, "{fields:?}");
    for field in fields {
        assert!(table.contains(&format!("`{field}`")), "{field} is not in the table");
    }
}

/// The examples that there are: their names and texts.
fn examples() -> Vec<(String, String)> {
    let files = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let programs = files.filter(|path| path.extension().is_some_and(|it| it == "rs"));
    programs
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path)))
        .collect()
}

#[test]
fn every_example_can_be_copied_and_is_started_by_the_command_on_its_page() {
    let shown = commands(&read("docs/examples.md"), "cargo");
    let shown: Vec<_> =
        shown.iter().filter_map(|command| command.strip_prefix("cargo run --example ")).collect();
    let examples = examples();
    assert_eq!(shown.len(), examples.len());
    let daemon = match is_root() {
        // Root would need an account for the worker.
        true => Daemon::with_policy(&as_built_in()),
        false => match Daemon::built_in("the examples") {
            Some(daemon) => daemon,
            None => return,
        },
    };
    let daemon = daemon.start();
    for (name, text) in examples {
        let (lines, command) = (text.lines().count(), format!("cargo run --example {name} -- "));
        assert!(lines <= 150, "{name}: {lines} lines are too many to copy");
        assert!(text.contains(&command), "{name} does not say how to start it");
        let address = shown.iter().find_map(|shown| shown.strip_prefix(&format!("{name} -- ")));
        let address = address.unwrap_or_else(|| panic!("docs/examples.md does not start {name}"));
        // The port may be taken on this machine.
        let (host, _) = address.rsplit_once(':').unwrap();
        Example::spawn(&daemon, &name, &[&format!("{host}:0")]).address();
    }
}

/// The six tags that the examples use, and the rights that the built-in policy grants.
fn as_built_in() -> String {
    let tags: String =
        (1..=6).map(|id| format!("[tags.t{id}]\nid = {id}\nserial = true\n")).collect();
    let rule =
        "[[rules]]\nid = \"all to everyone\"\nallow = [\"*\"]\nslots = [\"*\"]\nanyone = true\n";
    tags + rule
}
