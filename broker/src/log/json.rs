//! The log for a program: one JSON object a line, with field names that stay.

use fdbroker_types::escape_json;
use serde::Serialize;

use super::record::Entry;

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    message: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    audit: Option<Audit<'a>>,
}

#[derive(Serialize)]
struct Audit<'a> {
    kind: &'a str,
    verdict: &'a str,
    right: &'a str,
    slot: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u32>,
    name: String,
    uid: u32,
    gid: u32,
    pid: i32,
    unit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_pid: Option<i32>,
    rule: Option<&'a str>,
    reason: &'a str,
    #[serde(skip_serializing_if = "is_one")]
    count: u32,
}

/// A count that need not be said. Serde asks with a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's own convention")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

/// The entry as a line, its newline included.
pub(super) fn line(entry: &Entry<'_>) -> String {
    let audit = entry.record.as_ref().map(|record| Audit {
        kind: record.kind.name(),
        verdict: record.verdict.name(),
        right: record.right,
        slot: record.subject.to_string(),
        slots: record.subject.slots(),
        name: record.name.to_string(),
        uid: record.uid.0,
        gid: record.gid.0,
        pid: record.pid,
        unit: record.unit,
        sender_uid: record.sender.map(|(uid, _, _)| uid.0),
        sender_gid: record.sender.map(|(_, gid, _)| gid.0),
        sender_pid: record.sender.map(|(_, _, pid)| pid),
        rule: record.rule,
        reason: record.reason,
        count: record.count,
    });
    let time = format!("{:.3}", jiff::Timestamp::now());
    let line = Line { time, level: entry.level.name(), message: entry.message, audit };
    // Strings and numbers always serialize; an empty line would still be a line.
    let text = serde_json::to_string(&line).unwrap_or_default();
    harmless(&text)
}

/// The line, with what JSON lets through but a terminal would act on escaped too.
pub(crate) fn harmless(text: &str) -> String {
    escape_json(text) + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::record::{Entry, Level, sample, sample_of_a_run};
    use super::line;

    #[test]
    fn an_entry_is_one_line_whatever_it_says() {
        let text = line(&Entry::event(Level::Error, "a\n\"b\"\u{1b}\u{202e}\u{85}\u{e0041}"));
        assert!(text.is_ascii(), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["message"], "a\n\"b\"\u{1b}\u{202e}\u{85}\u{e0041}");
        assert_eq!(value["level"], "error");
    }

    #[test]
    fn a_run_of_slots_is_named_by_both_ends_and_its_length() {
        let read = |record| -> serde_json::Value {
            serde_json::from_str(&line(&Entry::audit(record))).unwrap()
        };
        let run = read(sample_of_a_run());
        assert_eq!((&run["slot"], &run["name"]), (&"1/10-262".into(), &"web/10-262".into()));
        assert_eq!(run["slots"], 253);
        assert!(read(sample(7)).get("slots").is_none());
    }
}
