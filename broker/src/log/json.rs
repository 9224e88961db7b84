//! The log for a program: one JSON object a line, with field names that stay.

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
    verdict: &'a str,
    right: &'a str,
    slot: String,
    name: String,
    uid: u32,
    gid: u32,
    pid: i32,
    rule: Option<&'a str>,
    reason: &'a str,
}

/// The entry as a line, its newline included.
pub(super) fn line(entry: &Entry<'_>) -> String {
    let audit = entry.record.as_ref().map(|record| Audit {
        verdict: record.verdict.name(),
        right: record.right,
        slot: record.subject.to_string(),
        name: record.name.to_string(),
        uid: record.uid.0,
        gid: record.gid.0,
        pid: record.pid,
        rule: record.rule,
        reason: record.reason,
    });
    let time = format!("{:.3}", jiff::Timestamp::now());
    let line = Line { time, level: entry.level.name(), message: entry.message, audit };
    // Strings and numbers always serialize; an empty line would still be a line.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::{Entry, Level};
    use super::line;

    #[test]
    fn an_entry_is_one_line_whatever_it_says() {
        let text = line(&Entry::event(Level::Error, "a\n\"b\"\u{1b}"));
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["message"], "a\n\"b\"\u{1b}");
        assert_eq!(value["level"], "error");
    }
}
