//! The words of pages and messages: plain ones, in sentences that can be read at a glance.
//!
//! The tests read the pages, the manual pages (which have the help of the commands) and the units. Of the
//! sources they read what stands between quotation marks, without tests, and every comment with its
//! documentation. They do not read the changelog, which says what was.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that a reader has to look at twice, and what to write.
const BANNED: [(&str, &str); 14] = [
    ("gives", "returns, sends, allows"),
    ("whoever", "the user that, the process that"),
    ("meanwhile", "in between, in the meantime"),
    ("anew", "again"),
    ("what lies", "the deposit, the data"),
    ("what came", "the result, the answer"),
    ("none when", "`None` if"),
    ("none where", "`None` if"),
    ("of its own accord", "by itself"),
    ("come to serve", "be ready"),
    ("comes to serve", "is ready"),
    ("mend", "correct, repair, fix"),
    ("mends", "corrects, repairs, fixes"),
    ("as said", "leave it out"),
];

/// What messages may show in the form of `Debug`: no text of others, which is shown by `quoted`.
const DEBUG_FORMS: [&str; 10] =
    ["PATIENCE", "account", "after", "control", "gids", "groups", "left", "set", "state", "uids"];

/// The longest sentence of a message, in words.
const LONGEST: usize = 25;

/// The longest sentence of a page.
const LONGEST_OF_PAGES: usize = 30;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The files below a directory whose names end like this, without what was built.
fn files(directory: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true if name.starts_with('.') || name == "target" => Vec::new(),
            true => files(&path, ends),
            false => Vec::from_iter(ends.iter().any(|end| name.ends_with(end)).then_some(path)),
        }
    });
    found.collect()
}

/// The pages that people read: their paths and texts.
fn pages() -> Vec<(String, String)> {
    let mut found: Vec<_> =
        ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root().join(name)).into();
    found.extend(files(&root().join("docs"), &[".md"]));
    found.extend(files(&root().join("man"), &[".1", ".5", ".8", ".md"]));
    found.extend(files(&root().join("systemd"), &[""]));
    named(found)
}

/// The sources of what is installed, without their tests: their paths and texts.
fn sources() -> Vec<(String, String)> {
    let directories = ["broker/src", "client", "host/src", "policy", "types/src", "wire/src"];
    let found = directories.iter().flat_map(|name| files(&root().join(name), &[".rs"]));
    let product = |path: &PathBuf| {
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
        !path.contains("/tests/") && !path.ends_with("/tests.rs")
    };
    let cut = |text: &str| text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned();
    let found = named(found.filter(product).collect());
    found.into_iter().map(|(path, text)| (path, cut(&text))).collect()
}

fn named(paths: Vec<PathBuf>) -> Vec<(String, String)> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().display().to_string(), text)
    };
    paths.into_iter().map(read).collect()
}

/// What stands between quotation marks in a source, as it is said: continued lines are one.
fn messages(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source.chars().peekable();
    let mut before = ' ';
    while let Some(character) = rest.next() {
        match character {
            '/' if before == '/' => {
                rest.by_ref().find(|character| *character == '\n');
            }
            // A character, not a lifetime.
            '\'' if rest.peek() == Some(&'"') => {
                rest.next();
            }
            '"' => found.push(literal(&mut rest)),
            _ => {}
        }
        before = character;
    }
    found
}

fn literal(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(character) = rest.next() {
        match character {
            '"' => break,
            '\\' => match rest.next() {
                Some('\n') => while rest.next_if(|next| next.is_whitespace()).is_some() {},
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => {}
            },
            _ => text.push(character),
        }
    }
    text
}

/// The sentences of a text, roughly: up to a stop, the end of a cell, an indented or an empty line.
fn sentences(text: &str) -> Vec<String> {
    let paragraphs = text.replace(" | ", "\n\n").replace("\n| ", "\n\n").replace("\n  ", "\n\n");
    let ends = |text: &str| text.trim_end_matches(['*', ')', '"']).ends_with(['.', ';', ':', '?']);
    let mut found = Vec::new();
    for paragraph in paragraphs.split("\n\n") {
        let mut sentence = String::new();
        for word in paragraph.split_whitespace() {
            sentence.push_str(word);
            if ends(word) {
                found.push(std::mem::take(&mut sentence));
            } else {
                sentence.push(' ');
            }
        }
        found.push(sentence);
    }
    found
}

/// What is wrong with the words of a text.
fn wrong_words(text: &str) -> Vec<String> {
    let relative = |sentence: &String| {
        let words = sentence.trim_start_matches(['-', '*', '"', ' ']);
        words.starts_with("Who ") && !sentence.ends_with('?')
    };
    let relative = sentences(text).into_iter().filter(relative).map(|it| format!("Who: {it}"));
    banned(text).into_iter().chain(relative).collect()
}

/// The banned words of a text.
fn banned(text: &str) -> Vec<String> {
    let is_letter = |character: char| character.is_alphanumeric() || character == '_';
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    // The field has no other word for that.
    let joined = joined.replace("gives up", "");
    let stands = |word: &str| {
        joined.match_indices(word).any(|(at, _)| {
            !joined[..at].ends_with(is_letter) && !joined[at + word.len()..].starts_with(is_letter)
        })
    };
    let found = BANNED.iter().filter(|(word, _)| stands(word));
    found.map(|(word, better)| format!("{word:?}: better {better}")).collect()
}

#[test]
fn pages_use_plain_words() {
    let wrong: Vec<_> = pages()
        .into_iter()
        .flat_map(|(path, text)| {
            wrong_words(&text).into_iter().map(move |wrong| format!("{path}: {wrong}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_use_plain_words() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .flat_map(|(path, text)| {
            let wrong = messages(&text).into_iter().flat_map(|message| wrong_words(&message));
            wrong.map(move |wrong| format!("{path}: {wrong}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn comments_use_plain_words() {
    let wrong: Vec<_> = named(files(root(), &[".rs"]))
        .into_iter()
        .flat_map(|(path, text)| {
            let wrong = comments(&text).into_iter().flat_map(|comment| banned(&comment));
            wrong.map(move |wrong| format!("{path}: {wrong}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The comments of a source: lines that follow each other are one.
fn comments(source: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for line in source.lines() {
        match line.trim_start().strip_prefix("//") {
            Some(text) => {
                let last = found.last_mut().unwrap();
                last.push_str(text.trim_start_matches(['/', '!']));
                last.push('\n');
            }
            None if found.last().is_some_and(String::is_empty) => {}
            None => found.push(String::new()),
        }
    }
    found
}

#[test]
fn sentences_of_messages_are_short() {
    let long = |sentence: &String| sentence.split_whitespace().count() > LONGEST;
    let wrong: Vec<_> = sources()
        .into_iter()
        .flat_map(|(path, text)| {
            let said = messages(&text).into_iter().flat_map(|message| sentences(&message));
            said.filter(long).map(move |it| format!("{path}: {it}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sentences_of_pages_are_short() {
    let long = |sentence: &String| sentence.split_whitespace().count() > LONGEST_OF_PAGES;
    let wrong: Vec<_> = pages()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".md"))
        .flat_map(|(path, text)| {
            let long = sentences(&prose(&text)).into_iter().filter(long);
            long.map(move |it| format!("{path}: {it}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A page without its examples, its items and fields apart.
fn prose(page: &str) -> String {
    let outside = page.split("```").step_by(2).collect::<String>();
    outside.replace("\n- ", "\n\n").replace(" · ", "\n\n")
}

/// One escape shows text from others everywhere: `Debug` has another set of characters.
#[test]
fn messages_show_no_text_in_its_debug_form() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .flat_map(|(path, text)| {
            let shown = messages(&text).into_iter().flat_map(|message| debug_forms(&message));
            let wrong = shown.filter(|it| !DEBUG_FORMS.contains(&it.as_str()));
            wrong.map(move |it| format!("{path}: {{{it}:?}}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "use `quoted`: {}", wrong.join("\n"));
}

/// What a message shows in the form of `Debug`.
fn debug_forms(message: &str) -> Vec<String> {
    let begun = message.split('{').skip(1).filter_map(|rest| rest.split_once(":?}"));
    begun.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_check_itself_finds_such_words() {
    assert_eq!(
        messages("say(\"one \\\n   line\"); // \"not this\"\n'\"'; \"two\""),
        ["one line", "two"]
    );
    assert_eq!(wrong_words("it is made\nanew").len(), 1);
    assert_eq!(wrong_words("Amends are made; recommended.").len(), 0);
    assert_eq!(wrong_words("So it is. Who asks has it.").len(), 1);
    assert_eq!(wrong_words("Who asks?").len(), 0);
    assert_eq!(
        comments("/// one\n/// two\nfn f() {}\n// three")[..2],
        [" one\n two\n", " three\n"]
    );
    assert_eq!(debug_forms("{a:?} {b} {:?}"), ["a", ""]);
}
