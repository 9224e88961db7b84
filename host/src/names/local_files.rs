//! The accounts that the machine has in files of its own, passwd(5) and group(5): they are known without a name service.

use std::path::Path;

use super::question::{Entry, Question};

/// A longer one is no such file.
const LONGEST: u64 = 16 << 20;

/// Returns what the machine's files have, if they have it.
pub(super) fn in_local_files(question: &Question) -> Option<Entry> {
    let path = match question {
        Question::Group(_) => "/etc/group",
        Question::User(_) | Question::Number(_) => "/etc/passwd",
    };
    let path = Path::new(path);
    if path.metadata().ok()?.len() > LONGEST {
        return None;
    }
    found(question, &std::fs::read_to_string(path).ok()?)
}

/// The first line that has it.
fn found(question: &Question, text: &str) -> Option<Entry> {
    if !question.is_possible() {
        return None;
    }
    text.lines().filter_map(|line| entry(question, line)).find(|entry| match question {
        Question::User(name) | Question::Group(name) => entry.name == *name,
        Question::Number(uid) => entry.id == uid.0,
    })
}

fn entry(question: &Question, line: &str) -> Option<Entry> {
    let mut fields = line.split(':');
    let (name, _, id) = (fields.next()?.to_owned(), fields.next()?, fields.next()?);
    let id = id.parse().ok()?;
    let gid = match question {
        Question::Group(_) => id,
        Question::User(_) | Question::Number(_) => fields.next()?.parse().ok()?,
    };
    Some(Entry { name, id, gid })
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::Uid;

    use super::*;

    const TEXT: &str =
        "+ann\nann:x:7:8::/:/bin/sh\nbad:x:y:8\nann:x:9:9::/:/bin/sh\nbob:x:10:11::/:";

    fn numbers(question: &Question) -> Option<(u32, u32)> {
        found(question, TEXT).map(|entry| (entry.id, entry.gid))
    }

    #[test]
    fn the_first_line_that_has_it_counts() {
        assert_eq!(numbers(&Question::User("ann".to_owned())), Some((7, 8)));
        assert_eq!(numbers(&Question::Group("ann".to_owned())), Some((7, 7)));
        assert_eq!(numbers(&Question::Number(Uid(10))), Some((10, 11)));
        for other in ["bad", "+ann", "", "x", "ann:x"] {
            assert_eq!(numbers(&Question::User(other.to_owned())), None, "{other}");
        }
    }
}
