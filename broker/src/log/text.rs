//! The log for a person: one line an entry, `key=value` for the audit trail.
//!
//! Text is escaped so that no entry can look like two, or move a terminal's cursor.

use std::fmt::Write as _;

use fdbroker_types::{write_escaped, write_in_quotes};

use super::fields::{Field, Value, shown};
use super::record::{Entry, Kind, Name, Record, Subject};

/// The entry as a line, its newline included.
pub(super) fn line(entry: &Entry<'_>) -> String {
    let mut line = String::with_capacity(USUAL_LENGTH);
    // Writing to a String cannot fail.
    let _ = write!(line, "{:.3} {} ", jiff::Timestamp::now(), entry.level.name());
    match &entry.record {
        Some(record) => audit(&mut line, record),
        None => drop(write_escaped(&mut line, entry.message)),
    }
    line.push('\n');
    line
}

const USUAL_LENGTH: usize = 256;

fn audit(line: &mut String, record: &Record<'_>) {
    line.push_str("audit");
    record.visit(|Field { name, value, .. }| match value {
        // What goes without saying.
        Value::Word(kind) if name == "kind" && kind == Kind::Decision.name() => {}
        Value::Number(1) if name == "count" => {}
        Value::Subject(Subject::Nothing) | Value::Name(Name::None) => {}
        // Writing to a String cannot fail.
        Value::Word(word) => drop(write!(line, " {name}={word}")),
        Value::Number(number) => drop(write!(line, " {name}={number}")),
        Value::Time(time) => drop(write!(line, " {name}={}", shown(time))),
        Value::Subject(subject) => drop(write!(line, " {name}={subject}")),
        Value::Rule(None) => drop(write!(line, " {name}=none")),
        Value::Text(text) | Value::Rule(Some(text)) => quoted(line, name, &text),
        Value::Name(found) => quoted(line, name, &found),
    });
}

fn quoted(line: &mut String, key: &str, value: &dyn std::fmt::Display) {
    let _ = write!(line, " {key}=\"");
    let _ = write!(Quoted(line), "{value}");
    line.push('"');
}

/// Writes what stands between quotation marks.
struct Quoted<'a>(&'a mut String);

impl std::fmt::Write for Quoted<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        write_in_quotes(self.0, text)
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::{Gid, Uid};

    use super::super::handed_out::HandedOut;
    use super::super::record::{Entry, Level, Record, sample, sample_of_a_run};
    use super::line;

    #[test]
    fn no_text_can_forge_a_line_or_move_the_cursor() {
        let text = line(&Entry::event(Level::Info, "a\nb\u{1b}[2Jc\u{202e}\u{85}"));
        assert!(text.ends_with(" info a\\nb\\u{1b}[2Jc\\u{202e}\\u{85}\n"), "{text}");
    }

    #[test]
    fn what_nobody_sees_is_shown() {
        let text = line(&Entry::event(Level::Info, "\u{61c}\u{feff}\u{200b}\u{e0041}\u{2060}é"));
        let shown = " info \\u{61c}\\u{feff}\\u{200b}\\u{e0041}\\u{2060}é\n";
        assert!(text.ends_with(shown), "{text}");
    }

    #[test]
    fn a_quote_in_a_rule_does_not_end_the_field() {
        let record = Record {
            sender: Some((Uid(4), Gid(5), 6)),
            rule: Some("x\" verdict=granted \\"),
            reason: "refused",
            ..sample(3)
        };
        let text = line(&Entry::audit(record));
        assert!(text.contains(" sender_uid=4 sender_gid=5 sender_pid=6 "), "{text}");
        assert!(text.contains(r#"rule="x\" verdict=granted \\" reason="refused""#), "{text}");
    }

    #[test]
    fn a_peer_that_a_helper_tells_forges_no_field() {
        let peer = Some("x\" verdict=granted\n");
        let handed_out = HandedOut { lease: Some(3), peer, session: Some(815) };
        let text = line(&Entry::audit(Record { handed_out, ..sample(3) }));
        let said = r#" lease=3 peer="x\" verdict=granted\n" session=815 rule=none "#;
        assert!(text.contains(said) && text.matches('\n').count() == 1, "{text}");
    }

    #[test]
    fn a_run_of_slots_is_named_by_both_ends_and_its_length() {
        let text = line(&Entry::audit(sample_of_a_run()));
        assert!(text.contains(" slot=1/10-262 slots=253 name=\"web/10-262\" "), "{text}");
    }
}
