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
