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
