//! Every example of the policy reference loads as it stands.

mod support;

use std::fs;
use std::path::Path;

use support::load_one;

/// The blocks that are marked `toml`; those marked `toml,fragment` are no whole policy.
fn examples(page: &str) -> Vec<String> {
    let mut examples = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "```toml" {
            let block: Vec<_> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            examples.push(block.join("\n"));
        }
    }
    examples
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
    fs::read_to_string(path).expect("the reference")
}

#[test]
fn every_example_of_the_reference_loads() {
    let examples = examples(&page());
    assert!(examples.len() >= 2, "{}", examples.len());
    for example in examples {
        if let Err(findings) = load_one("policy.md", &example) {
            panic!("{findings}");
        }
    }
}

#[test]
fn the_reference_lists_every_kind_and_right() {
    let page = page();
    for kind in fdbroker_policy::Kind::ALL {
        assert!(page.contains(&format!("`\"{kind}\"`")), "{kind}");
    }
    for right in fdbroker_policy::Right::ALL {
        assert!(page.contains(&format!("`\"{right}\"`")), "{right}");
    }
}

/// The keys of a table that holds one key too many, as the finding about that one lists them.
fn keys(table: &str) -> Vec<String> {
    let text = format!("version = 1\n{table}\nqqqqqqqqqqqqqqqq = 1\n");
    let findings = load_one("p", &text).expect_err("an unknown key");
    let known =
        findings.iter().find_map(|finding| finding.remedy.strip_prefix("keys known here: "));
    let known = known.expect("a list of keys").split(", ");
    known.map(|key| key.trim_matches('`').to_owned()).collect()
}

#[test]
fn the_reference_has_a_row_for_every_key() {
    let page = page();
    let row = |section: &str, key: &str| {
        let begin = page.find(&format!("\n## `{section}`")).expect("a section");
        let rest = &page[begin + 4..];
        let section = rest.split("\n## ").next().expect("its text");
        section.contains(&format!("\n| `{key}` |"))
    };
    for (table, section) in [
        ("[broker]", "[broker]"),
        ("[tags.a]", "[tags.NAME]"),
        ("[resources.a]", "[resources.NAME]"),
        ("[[rules]]", "[[rules]]"),
        ("[[tests]]", "[[tests]]"),
    ] {
        let keys = keys(table);
        assert!(keys.len() >= 3, "{keys:?}");
        for key in keys {
            assert!(row(section, &key), "{key} of {section}");
        }
    }
    for table in keys("").iter().filter(|table| *table != "version") {
        assert!(
            page.contains(&format!("\n## `[{table}")) || page.contains(&format!("\n## `[[{table}")),
            "{table}"
        );
    }
}

/// What the table of diagnostics says that a message is: alternatives, each of parts with anything between.
fn diagnostics(page: &str) -> Vec<Vec<String>> {
    let section = page.split("\n## Diagnostics\n").nth(1).expect("the section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let alternatives = rows.flat_map(|message| message.split("; ")).flat_map(variants);
    let parts = |text: String| {
        text.split('…').map(|part| part.trim_matches([' ', ':']).to_owned()).collect::<Vec<_>>()
    };
    alternatives.map(parts).map(without_empty).collect()
}

fn without_empty(parts: Vec<String>) -> Vec<String> {
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

/// A message, and each with the words in parentheses in place of as many words before them.
fn variants(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once(" (") else { return vec![text.to_owned()] };
    let Some((others, after)) = rest.split_once(')') else { return vec![text.to_owned()] };
    let mut found = vec![format!("{before}{after}")];
    let words: Vec<_> = before.split(' ').collect();
    for other in others.split(", ") {
        let kept = words.len().saturating_sub(other.split(' ').count());
        found.push(format!("{} {other}{after}", words[..kept].join(" ")));
    }
    found
}

/// Whether the parts stand in a message, in this order.
fn is_like(message: &str, parts: &[String]) -> bool {
    let mut rest = message;
    !parts.is_empty()
        && parts.iter().all(|part| match rest.split_once(part.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
}

/// Every message of the golden reports.
fn messages() -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings");
    let entries = fs::read_dir(directory).expect("the reports");
    let files = entries.map(|entry| entry.expect("a report").path());
    let reports = files.filter(|path| path.extension().is_some_and(|it| it == "txt"));
    let text: String = reports.map(|path| fs::read_to_string(path).expect("a report")).collect();
    let message = |line: &str| Some(line.split_once(": error: ")?.1.to_owned());
    text.lines().filter_map(message).collect()
}

#[test]
fn the_reference_has_a_row_for_every_message() {
    let (rows, messages) = (diagnostics(&page()), messages());
    assert!(messages.len() > 100, "{}", messages.len());
    let missing: Vec<_> =
        messages.iter().filter(|it| !rows.iter().any(|parts| is_like(it, parts))).collect();
    assert!(missing.is_empty(), "no row for:\n{missing:#?}");
}
