//! A record as a line of the audit file: one JSON object, with the field names of the journal.

use crate::log::{Entry, Field, Record, Value, object};

/// The line, its newline included.
pub(super) fn line(record: &Record<'_>) -> String {
    object(|object| {
        object.field("time", &format!("{:.6}", jiff::Timestamp::now()));
        object.field("MESSAGE_ID", record.kind.message_id());
        object.field("PRIORITY", &Entry::audit(*record).level.priority());
        object.field("MESSAGE", &record.sentence());
        record.visit(|Field { journal_name, value, .. }| match value {
            Value::Rule(None) => object.field(journal_name, "none"),
            value => object.field(journal_name, &value),
        });
    })
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::Uid;

    use super::line;
    use crate::log::{HandedOut, Kind, LeaseEnd, Record, sample, sample_of_a_run};

    #[test]
    fn the_end_of_a_lease_says_since_when_why_and_by_whom() {
        let since = jiff::Timestamp::from_millisecond(1_000_000_000_123).unwrap();
        let end = LeaseEnd { since, ended: "revoked", by: Some(Uid(4)) };
        let handed_out = HandedOut { lease: Some(3), peer: Some("a\n{\"b"), session: None };
        let record =
            Record { kind: Kind::LeaseEnd, gid: None, handed_out, end: Some(end), ..sample(7) };
        let text = line(&record);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["FDBROKER_SINCE"], "2001-09-09T01:46:40.123Z");
        assert_eq!(
            (&value["FDBROKER_ENDED"], &value["FDBROKER_BY_UID"]),
            (&"revoked".into(), &4.into())
        );
        assert_eq!(
            (&value["FDBROKER_LEASE"], &value["FDBROKER_PEER"]),
            (&3.into(), &"a\n{\"b".into())
        );
        assert!(value.get("FDBROKER_GID").is_none() && value.get("FDBROKER_SESSION").is_none());
        assert_eq!(value["MESSAGE"], "end of lease 3 of  of uid 1 pid 7: no rule allows it");
    }

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
