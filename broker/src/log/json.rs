//! The log for a program: one JSON object a line, with field names that stay.

use fdbroker_types::escape_json;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::ser::{CompactFormatter, Compound};

use super::fields::{Field, Value, shown};
use super::record::Entry;

/// A JSON object that is being written.
pub(crate) struct Object<'a>(Compound<'a, Vec<u8>, CompactFormatter>);

/// The entry as a line, its newline included.
pub(super) fn line(entry: &Entry<'_>) -> String {
    object(|object| {
        object.field("time", &format!("{:.3}", jiff::Timestamp::now()));
        object.field("level", entry.level.name());
        object.field("message", entry.message);
        let Some(record) = &entry.record else { return };
        record.visit(|Field { name, value, .. }| match value {
            // A count that need not be said.
            Value::Number(1) if name == "count" => {}
            value => object.field(name, &value),
        });
    })
}

/// A JSON object as a line, its newline included.
pub(crate) fn object(fill: impl FnOnce(&mut Object<'_>)) -> String {
    let mut serializer = serde_json::Serializer::new(Vec::with_capacity(USUAL_LENGTH));
    // Writing to memory cannot fail.
    if let Ok(map) = serializer.serialize_map(None) {
        let mut object = Object(map);
        fill(&mut object);
        let _ = object.0.end();
    }
    harmless(&String::from_utf8(serializer.into_inner()).unwrap_or_default())
}

const USUAL_LENGTH: usize = 512;

impl Object<'_> {
    pub(crate) fn field(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        // Strings and numbers always serialize.
        let _ = self.0.serialize_entry(name, value);
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(text) | Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Subject(subject) => serializer.collect_str(subject),
            Self::Name(name) => serializer.collect_str(name),
            Self::Rule(rule) => rule.serialize(serializer),
            Self::Time(time) => serializer.serialize_str(&shown(*time)),
        }
    }
}

/// The line, with what JSON lets through but a terminal would act on escaped too.
fn harmless(text: &str) -> String {
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
