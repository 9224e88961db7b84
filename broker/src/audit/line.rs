//! A record as a line of the audit file: one JSON object, with the field names of the journal.

use serde::Serialize;

use crate::log::{Entry, Record, harmless};

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(rename = "MESSAGE_ID")]
    id: &'a str,
    #[serde(rename = "PRIORITY")]
    priority: u8,
    #[serde(rename = "MESSAGE")]
    message: String,
    #[serde(rename = "FDBROKER_KIND")]
    kind: &'a str,
    #[serde(rename = "FDBROKER_VERDICT")]
    verdict: &'a str,
    #[serde(rename = "FDBROKER_RIGHT")]
    right: &'a str,
    #[serde(rename = "FDBROKER_SLOT")]
    slot: String,
    #[serde(rename = "FDBROKER_SLOTS", skip_serializing_if = "Option::is_none")]
    slots: Option<u32>,
    #[serde(rename = "FDBROKER_NAME")]
    name: String,
    #[serde(rename = "FDBROKER_UID")]
    uid: u32,
    #[serde(rename = "FDBROKER_GID")]
    gid: u32,
    #[serde(rename = "FDBROKER_PID")]
    pid: i32,
    #[serde(rename = "FDBROKER_UNIT")]
    unit: &'a str,
    #[serde(rename = "FDBROKER_SENDER_UID", skip_serializing_if = "Option::is_none")]
    sender_uid: Option<u32>,
    #[serde(rename = "FDBROKER_SENDER_GID", skip_serializing_if = "Option::is_none")]
    sender_gid: Option<u32>,
    #[serde(rename = "FDBROKER_SENDER_PID", skip_serializing_if = "Option::is_none")]
    sender_pid: Option<i32>,
    #[serde(rename = "FDBROKER_RULE")]
    rule: &'a str,
    #[serde(rename = "FDBROKER_REASON")]
    reason: &'a str,
    #[serde(rename = "FDBROKER_COUNT")]
    count: u32,
}

/// The line, its newline included.
pub(super) fn line(record: &Record<'_>) -> String {
    let line = Line {
        time: format!("{:.6}", jiff::Timestamp::now()),
        id: record.kind.message_id(),
        priority: Entry::audit(*record).level.priority(),
        message: record.sentence(),
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
        rule: record.rule.unwrap_or("none"),
        reason: record.reason,
        count: record.count,
    };
    // Strings and numbers always serialize; an empty line would still be a line.
    harmless(&serde_json::to_string(&line).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::log::sample_of_a_run;

    #[test]
    fn a_run_of_slots_is_named_by_both_ends_and_its_length() {
        let value: serde_json::Value = serde_json::from_str(&line(&sample_of_a_run())).unwrap();
        assert_eq!(value["FDBROKER_SLOT"], "1/10-262");
        assert_eq!(value["FDBROKER_SLOTS"], 253);
        assert_eq!(value["FDBROKER_NAME"], "web/10-262");
        assert_eq!(value["FDBROKER_COUNT"], 1);
        assert_eq!(value["MESSAGE"], "granted get 1/10-262 (253 slots) to uid 1 pid 7: done");
    }
}
