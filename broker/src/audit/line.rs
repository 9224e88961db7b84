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
