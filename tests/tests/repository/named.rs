//! The tests and source files that the documentation names exist, and each attack has its row.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::pages::{pages, read, root};

/// The names of all tests of this checkout: in Rust, and in Python.
fn tests() -> BTreeSet<String> {
    let tests = sources(root()).into_iter().flat_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        match path.extension() == Some("rs".as_ref()) {
            true => tests_in_rust(&text),
            false => tests_in_python(&text),
        }
    });
    tests.collect()
}

/// The source files below a directory, in Rust and in Python, without what was built.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_source = name.ends_with(".rs") || name.ends_with(".py");
        match path.is_dir() {
            _ if name.starts_with('.') || name == "target" => Vec::new(),
            true => sources(&path),
            false => is_source.then_some(path).into_iter().collect(),
        }
    });
    found.collect()
}

/// The functions that an attribute which ends with `test` or begins with it stands before.
fn tests_in_rust(source: &str) -> Vec<String> {
    let attribute = |line: &str| {
        let name = line.trim_start().strip_prefix("#[").unwrap_or_default();
        name.starts_with("test]") || name.starts_with("tokio::test")
    };
    let mut lines = source.lines();
    let mut tests = Vec::new();
    while lines.by_ref().any(attribute) {
        let name = lines.by_ref().find_map(|line| line.split("fn ").nth(1)?.split('(').next());
        tests.extend(name.map(str::to_owned));
    }
    tests
}

fn tests_in_python(source: &str) -> Vec<String> {
    let names = source.lines().filter_map(|line| line.trim_start().strip_prefix("def test_"));
    names.filter_map(|rest| Some(format!("test_{}", rest.split('(').next()?))).collect()
}

/// The rows of tables whose last column is of tests: the first cell, and the names in the last one.
fn rows_of_tests(page: &str) -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    let mut of_tests = false;
    for line in page.lines() {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let last = cells.last().copied().unwrap_or_default();
        if !line.starts_with('|') || last.starts_with("tests") {
            of_tests = line.starts_with('|');
        } else if of_tests && !last.starts_with("---") {
            let names: Vec<_> = last.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            rows.push((cells[0].to_owned(), names));
        }
    }
    rows
}

#[test]
fn each_test_that_a_page_names_exists() {
    let tests = tests();
    assert!(tests.len() > 500, "{} tests", tests.len());
    for (page, least) in
        [("SECURITY.md", 8), ("docs/attacks.md", 45), ("docs/what-befell-others.md", 25)]
    {
        let rows = rows_of_tests(&read(page));
        assert!(rows.len() >= least, "{page}: {} rows", rows.len());
        for (row, names) in rows {
            assert!(!names.is_empty(), "{page}: {row} names no test");
            for name in names {
                assert!(tests.contains(&name), "{page}: {row}: there is no test {name}");
            }
        }
    }
}

#[test]
fn each_source_file_that_a_page_names_exists() {
    let sources: Vec<String> =
        sources(root()).iter().map(|path| path.to_string_lossy().into_owned()).collect();
    for page in pages() {
        let text = read(&page);
        let named = text.split('`').filter(|word| word.ends_with(".rs") && !word.contains(' '));
        for name in named.filter(|name| !name.contains(['*', '{'])) {
            let end = format!("/{name}");
            assert!(sources.iter().any(|path| path.ends_with(&end)), "{}: {name}", page.display());
        }
    }
}

#[test]
fn each_attack_has_its_row() {
    let rows = rows_of_tests(&read("docs/attacks.md"));
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    assert!(numbers.len() >= 45, "{numbers:?}");
}
