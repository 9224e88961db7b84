//! What stands in the payload of a session: the word of a server, or of a depositor. Each place where it is passed on
//! has its own meaning for some characters, so a value with one of those is refused.

use fdbroker::Connection;
use fdbroker::connection::{BACKEND_KEY, EARLY, OUTPUT};
use fdbroker_types::quoted;

use crate::failure::Failure;

/// What is no text.
const BYTES: [&str; 3] = [BACKEND_KEY, EARLY, OUTPUT];

/// A place that a value is passed on to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// A variable, which a program may write behind a command.
    Variable,
    /// A variable that programs may also read as a whole list of settings.
    ConnectionString,
    /// Between the quotes of a file of options.
    Quotes,
}

/// Returns what is wrong with a payload, wherever it is passed on.
pub(super) fn fault(connection: Connection<'_>) -> Option<String> {
    let mut texts = connection.fields().filter(|(name, _)| !BYTES.contains(name));
    let has_control = |text: &[u8]| match str::from_utf8(text) {
        Ok(text) => text.chars().any(char::is_control),
        Err(_) => true,
    };
    let (name, _) = texts.find(|(_, value)| has_control(value))?;
    Some(format!("{} has a control character, or is no UTF-8", quoted(name)))
}

/// Returns a value that may be passed on there.
///
/// # Errors
/// If the place has a meaning of its own for a part of it.
pub(super) fn checked<'a>(what: &str, value: &'a str, place: Place) -> Result<&'a str, Failure> {
    let fault = match place {
        _ if value.chars().any(char::is_control) => "has a control character",
        Place::Variable | Place::ConnectionString if value.starts_with('-') => {
            "begins with '-', so programs could take it for an option"
        }
        Place::ConnectionString if value.contains('=') || value.contains("://") => {
            "has '=' or '://', so programs could take it for a connection string"
        }
        Place::Quotes if value.contains(['"', '\'']) => "has a quotation mark",
        _ => return Ok(value),
    };
    Err(Failure::Local(format!(
        "exec: the {what} {value} cannot be passed on: it {fault}",
        value = quoted(value)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker::connection::{ConnectionWriter, PEER, USER};

    fn fault_of(name: &str, value: &[u8]) -> Option<String> {
        let mut writer = ConnectionWriter::new("mysql").unwrap();
        writer.add(PEER, "tcp:192.0.2.7:3306").unwrap();
        writer.add(name, value).unwrap();
        fault(Connection::parse(&writer.finish()).unwrap())
    }

    #[test]
    fn a_value_with_a_control_character_is_refused() {
        for value in ["x\"\nplugin-dir=/tmp", "a\0b", "\r", "\u{9b}31m"] {
            let found = fault_of(USER, value.as_bytes()).unwrap();
            assert!(found.starts_with("\"user\" has a control character"), "{found}");
        }
        assert!(fault_of("parameter.a", &[0xff]).is_some());
        for (name, value) in [(USER, "gr\u{fc}n \"x\"".as_bytes()), (EARLY, b"\0\n")] {
            assert_eq!(fault_of(name, value), None);
        }
    }

    #[test]
    fn a_place_refuses_what_has_a_meaning_there() {
        use Place::{ConnectionString, Quotes, Variable};
        let refuses = |place, value| checked("user", value, place).is_err();
        for place in [Variable, ConnectionString, Quotes] {
            assert!(!refuses(place, "orders-1") && !refuses(place, ""));
            assert!(refuses(place, "a\nb"));
        }
        assert!(refuses(Variable, "--host=x") && refuses(ConnectionString, "-cx"));
        assert!(refuses(ConnectionString, "host=x") && refuses(ConnectionString, "postgres://x"));
        assert!(refuses(Quotes, "a\"b") && !refuses(Quotes, "-a=b"));
    }
}
