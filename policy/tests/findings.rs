//! Every diagnostic: each `tests/findings/NAME.toml` is refused with exactly the report in
//! `NAME.txt`. Where `NAME` is a directory, its `policy.toml` is the main file and the others are
//! drop-ins. Each `tests/warnings/NAME.toml` loads, with exactly the warnings in its `NAME.txt`.
//!
//! `REWRITE=1 cargo test -p fdbroker-policy --test findings` writes the reports again; then read
//! the difference.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_policy::{Findings, SourceText, load};
use support::{Machine, load_one};

fn cases() -> Vec<PathBuf> {
    cases_of("tests/findings")
}

fn cases_of(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = fs::read_dir(directory).expect("the cases");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a case").path()).collect();
    paths.retain(|path| path.extension().is_none_or(|extension| extension == "toml"));
    paths.sort();
    paths
}

/// The main file of a case, and its drop-ins.
fn sources(path: &Path) -> Vec<SourceText> {
    let read = |path: &Path| fs::read_to_string(path).expect("a case");
    if !path.is_dir() {
        return vec![SourceText::new("policy.toml", read(path))];
    }
    let entries = fs::read_dir(path).expect("a case");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("a file").file_name().into_string().expect("a name"))
        .collect();
    names.sort_by_key(|name| (name != "policy.toml", name.clone()));
    names.iter().map(|name| SourceText::new(name, read(&path.join(name)))).collect()
}

fn report(path: &Path) -> String {
    match load(&sources(path), &Machine) {
        Err(findings) => format!("{findings}\n"),
        Ok(_) => "no finding\n".to_owned(),
    }
}

fn refuse(text: &str) -> Findings {
    load_one("policy.toml", text).expect_err("a refusal")
}

#[test]
fn every_case_is_refused_with_exactly_the_report_beside_it() {
    assert_reports(&cases(), report);
}

#[test]
fn what_names_lack_is_a_warning_and_the_policy_loads() {
    assert_reports(&cases_of("tests/warnings"), |path| {
        let policy = load(&sources(path), &Machine).expect("it loads");
        policy.warnings().iter().map(|warning| format!("{warning}\n")).collect()
    });
}

fn assert_reports(cases: &[PathBuf], report: impl Fn(&Path) -> String) {
    let mut differing = Vec::new();
    for path in cases {
        let (found, expected) = (report(path), path.with_extension("txt"));
        if std::env::var_os("REWRITE").is_some() {
            fs::write(&expected, &found).expect("written");
        }
        if fs::read_to_string(&expected).unwrap_or_default() != found {
            differing.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn no_case_loads_and_every_finding_says_what_to_do() {
    assert!(cases().len() >= 20);
    for path in cases() {
        for finding in &load(&sources(&path), &Machine).expect_err("a refusal") {
            assert!(
                !finding.message.is_empty() && !finding.remedy.is_empty(),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn line_and_column_are_right_after_multibyte_text_and_with_crlf() {
    let text = "# für → 日本\r\nversion = 1\r\n[tags]\r\n\"→ü\" = { id = 1, \"ñx\" = 2 }\r\n";
    let places: Vec<_> =
        refuse(text).iter().map(|finding| (finding.line, finding.column)).collect();
    assert_eq!(places, [(4, 1), (4, 18)]);
}

#[test]
fn findings_come_in_the_order_of_their_places() {
    let text = "[[rules]]\nsluts = 1\n[tags.a]\nid = 99999\n[broker]\nx = 1\n";
    let places: Vec<_> =
        refuse(text).iter().map(|finding| (finding.line, finding.column)).collect();
    assert!(places.is_sorted() && places.len() >= 6, "{places:?}");
}

#[test]
fn no_byte_of_the_file_reaches_the_terminal_as_a_control_character() {
    let text = "version = 1\n\"\\u001b[31m\\u009b\\u202e\" = 1\n\u{1b}]0;title\u{7} = 1\n[tags.\"a\\nb\"]\nid = 1\n";
    let report = load_one("p\u{1b}[2J.toml", text).unwrap_err().to_string();
    assert!(report.contains("\\u{1b}[31m"), "{report}");
    let harmful: Vec<_> =
        report.chars().filter(|c| c.is_control() && *c != '\n' || *c == '\u{202e}').collect();
    assert!(harmful.is_empty(), "{harmful:?} in {report}");
    assert!(!report.contains("error: a\nb"));
}

#[test]
fn two_thousand_mistakes_are_refused_in_reasonable_time() {
    let mut text = "version = 1\n".to_owned();
    for number in 0..2000 {
        text += &format!(
            "[tags.t{number}]\nid = {number}\n[resources.r{number}]\nslot = \"t{number}/0\"\nfile = \"/f\"\n"
        );
        text += &format!("[[rules]]\nallow = [\"get\"]\nslots = [\"q{number}\"]\nanyone = true\n");
    }
    let before = std::time::Instant::now();
    let findings = refuse(&text);
    assert_eq!((findings.iter().count(), findings.more()), (100, 1900));
    assert!(findings.to_string().ends_with("\n\nand 1900 more findings: correct these first"));
    assert!(before.elapsed().as_secs() < 30, "{:?}", before.elapsed());
}

#[test]
fn no_report_shows_a_password_that_was_written_into_the_policy() {
    let keys = "slot = \"a/0\"\nconnect = \"tcp:h:1\"\n";
    for (before, password) in [
        ("auth.postgres.user = \"u\"\n", "auth.postgres.password = \"hunter2\"\n"),
        ("", "auth = { postgres = { password = \"hunter2\" } }\n"),
        ("", "auth = { postgres = { usr = 1, passwort = \"hunter2\" } }\n"),
        ("", "auth.postgres = { password = 'hunter2 }\n"),
        ("", "auth.postgres.password = hunter2\n"),
        ("", "auth.postgres.password = \"\"\"hunter2\nhunter2 \\z hunter2\n"),
        ("", "password = \"hunter2\"\n"),
        ("", "connect = \"postgres://u:hunter2@h/d\"\n"),
    ] {
        let text =
            format!("version = 1\n[tags.a]\nid = 1\n[resources.r]\n{keys}{before}{password}");
        let report = refuse(&text).to_string();
        assert!(!report.contains("hunter2"), "{report}");
    }
}
