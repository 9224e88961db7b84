//! What the documentation shows is what the programs take: its policies load, its commands parse,
//! its options exist, its links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_policy::{Gid, LookupError, Names, SourceText, Uid, load};

/// A machine that has every user and group.
struct EveryName;

impl Names for EveryName {
    fn user(&self, _: &str) -> Result<Option<Uid>, LookupError> {
        Ok(Some(Uid(1)))
    }

    fn group(&self, _: &str) -> Result<Option<Gid>, LookupError> {
        Ok(Some(Gid(1)))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pages() -> Vec<PathBuf> {
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
fn every_policy_of_the_readme_and_the_example_for_systemd_load() {
    let policies = blocks(&read("README.md"), "toml");
    let policies: Vec<_> =
        policies.into_iter().filter(|text| text.starts_with("version")).collect();
    assert!(!policies.is_empty(), "the README shows a policy");
    for text in policies.iter().chain([&read("systemd/policy.example.toml")]) {
        if let Err(findings) = load(&[SourceText::new("policy.toml", text)], &EveryName) {
            panic!("{findings}");
        }
    }
}

#[test]
fn every_command_of_the_readme_is_one() {
    let found: Vec<_> = commands(&read("README.md"), "fdbroker")
        .into_iter()
        // Capitals and dots stand for something else.
        .filter(|command| !command.contains(['…', '[']) && !command.contains("SLOT"))
        .filter(|command| !command.ends_with(" TAG"))
        .collect();
    assert!(found.len() >= 6, "the README shows commands: {found:?}");
    for command in found {
        let words = command.split(" > ").next().unwrap().split_whitespace();
        let parsed = fdbroker::command::definition().try_get_matches_from(words);
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
}

#[test]
fn every_option_of_the_daemon_is_in_the_readme_and_the_other_way_round() {
    let daemon = &fdbroker_tests::binaries::binaries().daemon;
    let help = std::process::Command::new(daemon).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let readme = read("README.md");
    let section = readme.split("## The daemon").nth(1).unwrap().split("## ").next().unwrap();
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
fn every_option_of_the_command_is_in_the_readme() {
    let readme = read("README.md");
    let definition = fdbroker::command::definition();
    let all = definition.get_subcommands().chain([&definition]);
    for option in all.flat_map(|command| command.get_arguments()).filter_map(|arg| arg.get_long()) {
        let hidden = ["help", "version"].contains(&option);
        assert!(
            hidden || readme.contains(&format!("--{option}")),
            "--{option} is not in the README"
        );
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
