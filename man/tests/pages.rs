//! The pages and completions in `man/` are those that the sources make, and have everything in them.
//!
//! `REWRITE=1 cargo test -p fdbroker-man` writes them again; then read the difference.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fdbroker_man::{completions, pages};

fn kept(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The page as a terminal shows it, but for its fonts; near enough to look for words.
fn words(file: &str) -> String {
    let page = pages().into_iter().find(|page| page.file == file).expect("there is such a page");
    ["\\fB", "\\fI", "\\fR", "\\"].iter().fold(page.text, |text, font| text.replace(font, ""))
}

#[test]
fn the_pages_that_are_kept_are_those_that_the_sources_make() {
    let mut differing = Vec::new();
    for page in pages().into_iter().chain(completions()) {
        let path = kept(&page.file);
        if std::env::var_os("REWRITE").is_some() {
            fs::write(&path, &page.text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != page.text {
            differing.push(page.file);
        }
    }
    assert!(
        differing.is_empty(),
        "write them with REWRITE=1, and read the difference: {differing:?}"
    );
}

#[test]
fn every_option_and_every_subcommand_is_completed() {
    for completion in completions() {
        let daemon = completion.file.contains("fdbrokerd");
        let definition = if daemon { fdbrokerd::definition() } else { fdbroker_cli::definition() };
        let all = definition.get_subcommands().chain([&definition]);
        let options = all.flat_map(|it| it.get_arguments()).filter_map(|it| it.get_long());
        for word in definition.get_subcommands().map(|it| it.get_name()).chain(options) {
            assert!(completion.text.contains(word), "{}: {word}", completion.file);
        }
    }
}

#[test]
fn each_shell_takes_its_completions() {
    for (shell, end) in [("bash", ".bash"), ("zsh", ""), ("fish", ".fish")] {
        if !is_there(shell) {
            eprintln!("skipped: the completions in {shell}: it is not there");
            continue;
        }
        for completion in completions() {
            let named = completion.file.strip_suffix(end).is_some_and(|name| !name.contains('.'));
            if named {
                let path = kept(&completion.file);
                let status = Command::new(shell).arg("-n").arg(path).status().expect("it starts");
                assert!(status.success(), "{shell} {}", completion.file);
            }
        }
    }
}

#[test]
fn every_option_and_every_subcommand_is_in_its_page() {
    for (definition, file) in
        [(fdbroker_cli::definition(), "fdbroker.1"), (fdbrokerd::definition(), "fdbrokerd.8")]
    {
        let page = words(file);
        let name = definition.get_name().to_owned();
        for command in definition.get_subcommands() {
            let heading = format!(".SS \"{name} {}\"", command.get_name());
            let section = page.split(&heading).nth(1);
            let section = section.unwrap_or_else(|| panic!("{heading} is not in {file}"));
            let section = section.split("\n.S").next().unwrap();
            assert_has_options(command, section);
        }
        assert_has_options(&definition, &page);
    }
}

fn assert_has_options(command: &clap::Command, text: &str) {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let entry = match argument.get_long() {
            Some(long) => format!(".TP\n--{long}"),
            None => argument
                .get_value_names()
                .map_or_else(|| format!("[{}]", argument.get_id()), |names| names.join(" ")),
        };
        let found = text.contains(&entry) || text.contains(&entry.replace(['[', ']'], ""));
        assert!(found, "{}: {entry:?} is not in the page", command.get_name());
    }
}

#[test]
fn what_formats_pages_finds_nothing_wrong_with_them() {
    let man = ("man", &["--warnings", "--encoding=UTF-8", "-l", "-"][..]);
    let mandoc = ("mandoc", &["-Tlint", "-Wwarning"][..]);
    let tools: Vec<_> = [man, mandoc].into_iter().filter(|(tool, _)| is_there(tool)).collect();
    if tools.is_empty() {
        eprintln!("skipped: the pages as they are shown: there is neither man nor mandoc");
    }
    for (tool, arguments) in tools {
        for page in pages() {
            let (good, complaints) = format(tool, arguments, &page.text);
            assert!(good && complaints.is_empty(), "{tool} {}: {complaints}", page.file);
        }
    }
}

/// Whether it went well, and what was said about it.
fn format(tool: &str, arguments: &[&str], page: &str) -> (bool, String) {
    let mut command = Command::new(tool);
    command.args(arguments).env("MANPAGER", "cat").env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let page = page.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(page.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    // One that has stopped reading has said why.
    let _ = writer.join().expect("no panic");
    let complaints = if tool == "mandoc" { output.stdout } else { output.stderr };
    let complaints = String::from_utf8_lossy(&complaints);
    let known = ["missing date", "skipping paragraph macro: br"];
    let complaints = complaints.lines().filter(|line| !known.iter().any(|it| line.contains(it)));
    (output.status.success() || tool == "mandoc", complaints.collect::<Vec<_>>().join("\n"))
}

fn is_there(tool: &str) -> bool {
    let mut command = Command::new("sh");
    let found = command.args(["-c", "command -v \"$0\"", tool]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}
