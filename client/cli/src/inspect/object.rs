//! A line of what the broker tells to whom may inspect it: a JSON object.

use serde_json::{Map, Value};

use crate::failure::Failure;

/// One of them.
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// Reads all lines.
    pub(crate) fn all(report: &str) -> Result<Vec<Self>, Failure> {
        let read = report.lines().map(|line| match serde_json::from_str(line) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            _ => Err(Failure::Unanswered(format!(
                "the broker sent a line that is no object: {line}"
            ))),
        });
        read.collect()
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    /// A number of 32 bits, such as a user id.
    pub(crate) fn id(&self, key: &str) -> Option<u32> {
        self.number(key).and_then(|number| number.try_into().ok())
    }

    pub(crate) fn is(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The texts of a list.
    pub(crate) fn texts(&self, key: &str) -> Vec<&str> {
        let list = self.0.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The object for other programs: without the number that only the protocol needs, and with what is `known` here.
    pub(crate) fn into_json(self, known: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let Self(mut object) = self;
        object.remove("at");
        object.extend(known.into_iter().map(|(key, value)| (key.to_owned(), value)));
        Value::Object(object)
    }
}
