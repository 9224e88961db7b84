//! A client's answer to the greeting (HandshakeResponse41): who it is, and what it wants.

use fdbroker::Connection;
use fdbroker::connection::USER;
use fdbroker_types::quoted;

use super::flags::{CONNECT_WITH_DB, FOUND_ROWS, IGNORE_SPACE, MULTI_STATEMENTS, REQUIRED};
use super::packet;

/// What a client wants. Its proof of a password is left aside.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Response {
    flags: u32,
    /// The number of its character set.
    pub(super) charset: u8,
    user: String,
    /// The database that it names.
    pub(super) database: Option<String>,
}

/// Of a log-in that is refused.
const DENIED: (u16, &str) = (1045, "28000");
/// Of a client that speaks otherwise (ER_NOT_SUPPORTED_AUTH_MODE).
const NOT_SUPPORTED: (u16, &str) = (1251, "08004");

impl Response {
    /// Reads the body of the packet. `offered` is what the greeting has said.
    pub(super) fn parse(body: &[u8], offered: u32) -> Option<Self> {
        let (flags, body) = body.split_first_chunk::<4>()?;
        // Servers and clients go by what both can do. The flags that are refused are kept.
        let flags = u32::from_le_bytes(*flags) & (offered | FOUND_ROWS | IGNORE_SPACE);
        // The longest packet is before it, and 23 reserved bytes are behind it.
        let (charset, body) = body.get(4..)?.split_first()?;
        let (user, body) = text(body.get(23..)?)?;
        let (proof, body) = body.split_first()?;
        let body = body.get(usize::from(*proof)..)?;
        let database = (flags & CONNECT_WITH_DB != 0).then(|| text(body)).flatten();
        let database = database.map(|(name, _)| name).filter(|name| !name.is_empty());
        Some(Self { flags, charset: *charset, user, database })
    }

    /// Whether a query may be several statements.
    pub(super) fn has_many_statements(&self) -> bool {
        self.flags & MULTI_STATEMENTS != 0
    }

    /// Refuses what a session that has begun cannot become: the body of an error.
    pub(super) fn check(&self, connection: Connection<'_>) -> Result<(), Vec<u8>> {
        let found = connection.text(USER).unwrap_or_default();
        if !self.user.is_empty() && self.user != found {
            let (found, asked) = (quoted(found), quoted(&self.user));
            let text = format!("the session is that of user {found}, not of {asked}");
            return Err(packet::error(DENIED, text));
        }
        let refused = |text: &str| Err(packet::error(NOT_SUPPORTED, text));
        match self.flags {
            flags if flags & REQUIRED != REQUIRED => {
                refused("the client is too old: it has no log-in by name")
            }
            flags if flags & FOUND_ROWS != 0 => refused(
                "the session counts rows that are changed: the client must not ask for found rows",
            ),
            flags if flags & IGNORE_SPACE != 0 => {
                refused("the session does not ignore spaces; set sql_mode in it")
            }
            _ => Ok(()),
        }
    }
}

/// A text that ends with a NUL, and what is behind it.
fn text(body: &[u8]) -> Option<(String, &[u8])> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let (text, rest) = body.split_at_checked(end)?;
    Some((str::from_utf8(text).ok()?.to_owned(), rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker::connection::ConnectionWriter;

    const ALL: u32 = !FOUND_ROWS & !IGNORE_SPACE;

    fn body(flags: u32, user: &str, database: &str) -> Vec<u8> {
        let head = [&flags.to_le_bytes()[..], &[0, 0, 0, 1], &[33], &[0; 23]].concat();
        let proof = [&[20][..], &[7; 20]].concat();
        let rest = [database.as_bytes(), b"\0mysql_native_password\0"].concat();
        [&head[..], user.as_bytes(), b"\0", &proof, &rest].concat()
    }

    fn refusal(flags: u32, user: &str) -> String {
        let mut writer = ConnectionWriter::new("mysql").unwrap();
        writer.add(USER, "orders").unwrap();
        let payload = writer.finish();
        let response = Response::parse(&body(flags, user, ""), ALL).unwrap();
        let checked = response.check(Connection::parse(&payload).unwrap());
        checked.map_or_else(|body| String::from_utf8_lossy(&body).into_owned(), |()| String::new())
    }

    #[test]
    fn a_client_says_who_it_is_and_what_it_wants() {
        let response = Response::parse(&body(ALL, "orders", "shop"), ALL).unwrap();
        assert_eq!((response.user.as_str(), response.charset), ("orders", 33));
        assert_eq!(response.database.as_deref(), Some("shop"));
        assert!(response.has_many_statements());
        let response = Response::parse(&body(ALL, "orders", "shop"), REQUIRED).unwrap();
        assert!(response.database.is_none() && !response.has_many_statements());
        let whole = body(ALL, "orders", "shop");
        for end in 0..whole.len() - "shop\0mysql_native_password\0".len() {
            assert_eq!(Response::parse(&whole[..end], ALL), None, "{end}");
        }
    }

    #[test]
    fn what_a_session_cannot_become_is_refused() {
        assert_eq!(refusal(REQUIRED, "orders"), "");
        assert_eq!(refusal(REQUIRED, ""), "");
        assert!(refusal(REQUIRED, "eve").contains("not of \"eve\""));
        assert!(refusal(0, "orders").contains("too old"));
        assert!(refusal(REQUIRED | FOUND_ROWS, "orders").contains("found rows"));
        assert!(refusal(REQUIRED | IGNORE_SPACE, "orders").contains("sql_mode"));
    }
}
