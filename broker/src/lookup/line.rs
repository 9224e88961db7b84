//! Questions and answers, a line each.

use fdbroker_host::{Answer, Entry, Question};
use fdbroker_policy::{LookupError, Uid};

/// Returns the line of a question whose name has no end of a line.
pub(super) fn of_question(question: &Question) -> String {
    match question {
        Question::User(name) => format!("user {name}\n"),
        Question::Group(name) => format!("group {name}\n"),
        Question::Number(uid) => format!("number {uid}\n"),
    }
}

/// Reads it, without its end.
pub(super) fn to_question(line: &str) -> Option<Question> {
    let (kind, rest) = line.split_once(' ')?;
    Some(match kind {
        "user" => Question::User(rest.to_owned()),
        "group" => Question::Group(rest.to_owned()),
        "number" => Question::Number(Uid(rest.parse().ok()?)),
        _ => return None,
    })
}

/// Returns the line of an answer.
pub(super) fn of_answer(answer: &Answer) -> String {
    match answer {
        Ok(Some(Entry { name, id, gid })) => format!("found {id} {gid} {}\n", one_line(name)),
        Ok(None) => "absent -\n".to_owned(),
        Err(LookupError(why)) => format!("failed {}\n", one_line(why)),
    }
}

/// Reads it, without its end.
pub(super) fn to_answer(line: &str) -> Option<Answer> {
    let (kind, rest) = line.split_once(' ')?;
    Some(match kind {
        "found" => {
            let mut fields = rest.splitn(3, ' ');
            let [id, gid, name] = [fields.next()?, fields.next()?, fields.next()?];
            let (id, gid) = (id.parse().ok()?, gid.parse().ok()?);
            Ok(Some(Entry { name: name.to_owned(), id, gid }))
        }
        "absent" => Ok(None),
        "failed" => Err(LookupError(rest.to_owned())),
        _ => return None,
    })
}

/// What a name service says can be anything.
fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_as_it_was_written() {
        for question in
            [Question::User("a b".into()), Question::Group("g".into()), Question::Number(Uid(7))]
        {
            assert_eq!(to_question(of_question(&question).trim_end()), Some(question));
        }
        let entry = Entry { name: "a b".into(), id: 7, gid: 8 };
        for answer in [Ok(Some(entry)), Ok(None), Err(LookupError("I/O error".into()))] {
            assert_eq!(to_answer(of_answer(&answer).trim_end()), Some(answer));
        }
        for other in ["", "user", "found 7 x ann", "other 7"] {
            assert_eq!((to_question(other), to_answer(other)), (None, None), "{other}");
        }
    }
}
