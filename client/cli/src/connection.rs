//! A connection that the broker has made, as JSON shows it.

use fdbroker::Connection;
use fdbroker::connection::{EARLY, PARAMETER};
use serde_json::{Map, Value, json};

/// How the name of a secret ends, such as `backend.key`.
const SECRET: &str = ".key";

/// The fields by their names, the parameters in an object of their own, and of early bytes their number. Secrets
/// are left out.
pub(crate) fn object(connection: Connection<'_>) -> Value {
    let mut object = Map::new();
    let mut parameters = Map::new();
    for (name, value) in connection.fields().filter(|(name, _)| !name.ends_with(SECRET)) {
        match name.strip_prefix(PARAMETER) {
            Some(parameter) => parameters.insert(parameter.to_owned(), text(value)),
            None if name == EARLY => object.insert("early_bytes".into(), json!(value.len())),
            None => object.insert(name.to_owned(), text(value)),
        };
    }
    if !parameters.is_empty() {
        object.insert("parameters".into(), Value::Object(parameters));
    }
    Value::Object(object)
}

fn text(value: &[u8]) -> Value {
    json!(String::from_utf8_lossy(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_secret() {
        let mut writer = fdbroker::connection::ConnectionWriter::new("postgres").unwrap();
        for (name, value) in [
            ("peer", "unix:/run/s"),
            ("parameter.TimeZone", "UTC"),
            ("backend.pid", "7"),
            ("backend.key", "secret"),
            ("early", "abc"),
        ] {
            writer.add(name, value).unwrap();
        }
        let payload = writer.finish();
        let shown = object(Connection::parse(&payload).unwrap());
        let expected = json!({
            "protocol": "postgres",
            "peer": "unix:/run/s",
            "backend.pid": "7",
            "early_bytes": 3,
            "parameters": { "TimeZone": "UTC" },
        });
        assert_eq!(shown, expected);
    }
}
