//! What a client begins with: requests for encryption, then a StartupMessage or a CancelRequest.

use fdbroker_types::quoted;
use fdbroker_wire::Connection;
use fdbroker_wire::connection::{DATABASE, USER};

use super::message::{Refusal, message};

/// Protocol 3.0. Its upper half is the major version.
const VERSION: u32 = 3 << 16;
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// The longest first message that a server takes.
pub const LONGEST: usize = 10_000;
/// How often a client may ask for encryption.
pub const ATTEMPTS: usize = 4;
/// Before the names of protocol options.
const OPTION: &str = "_pq_.";

/// A message of a client before its session begins.
#[derive(Debug)]
pub enum Beginning {
    /// A request for encryption.
    Encryption,
    /// A request to cancel what another session does: the process and the key.
    Cancel(Vec<u8>),
    /// A session is to begin.
    Session(StartupMessage),
}

/// A StartupMessage.
#[derive(Default, Debug)]
pub struct StartupMessage {
    is_newer: bool,
    user: String,
    database: Option<String>,
    replication: Option<String>,
    options: Option<String>,
    protocol_options: Vec<String>,
    /// What is to be set in the session, in its order.
    pub settings: Vec<(String, String)>,
}

impl Beginning {
    /// Reads a message by its code. `None` if it is cut, or of another version of the protocol.
    #[must_use]
    pub fn parse(code: u32, body: &[u8]) -> Option<Self> {
        match code {
            TLS | GSS => Some(Self::Encryption),
            CANCEL => Some(Self::Cancel(body.to_vec())),
            version if version >> 16 == VERSION >> 16 => {
                StartupMessage::parse(version > VERSION, body).map(Self::Session)
            }
            _ => None,
        }
    }
}

impl StartupMessage {
    fn parse(is_newer: bool, body: &[u8]) -> Option<Self> {
        let mut start_up = Self { is_newer, ..Self::default() };
        let mut texts = str::from_utf8(body).ok()?.split('\0');
        while let Some(name) = texts.next().filter(|name| !name.is_empty()) {
            let value = texts.next()?.to_owned();
            match name {
                "user" => start_up.user = value,
                "database" => start_up.database = Some(value),
                "replication" => start_up.replication = Some(value),
                "options" => start_up.options = Some(value),
                _ if name.starts_with(OPTION) => start_up.protocol_options.push(name.to_owned()),
                _ => start_up.settings.push((name.to_owned(), value)),
            }
        }
        Some(start_up)
    }

    /// Refuses what no session that has begun can be made to do.
    ///
    /// # Errors
    /// The refusal.
    pub fn check(&self) -> Result<(), Refusal> {
        let is_off = |value: &String| ["", "0", "no", "off", "false"].contains(&value.as_str());
        if !self.replication.as_ref().is_none_or(is_off) {
            return Err(Refusal::unsupported("fdbroker: the session is none for replication"));
        }
        if self.options.as_ref().is_some_and(|options| !options.trim().is_empty()) {
            let text = "fdbroker: the session has begun, so PGOPTIONS has no effect; use SET";
            return Err(Refusal::unsupported(text));
        }
        Ok(())
    }

    /// Refuses a session of another user or database.
    ///
    /// # Errors
    /// The refusal.
    pub fn check_session(&self, connection: Connection<'_>) -> Result<(), Refusal> {
        // As the server has it: the database is named after the user.
        let database = self.database.as_ref().unwrap_or(&self.user);
        for (what, asked, name) in [("user", &self.user, USER), ("database", database, DATABASE)] {
            let found = connection.text(name).unwrap_or_default();
            if asked != found {
                return Err(Refusal::other_session(format!(
                    "fdbroker: the session is that of {what} {found}, not of {asked}",
                    found = quoted(found),
                    asked = quoted(asked)
                )));
            }
        }
        Ok(())
    }

    /// NegotiateProtocolVersion, if the client asks for more than protocol 3.0.
    #[must_use]
    pub fn negotiation(&self) -> Vec<u8> {
        if !self.is_newer && self.protocol_options.is_empty() {
            return Vec::new();
        }
        let count = u32::try_from(self.protocol_options.len()).unwrap_or_default();
        let mut body = [VERSION.to_be_bytes(), count.to_be_bytes()].concat();
        for option in &self.protocol_options {
            body.extend(option.bytes().chain([0]));
        }
        message(b'v', &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker_wire::ConnectionWriter;

    fn start_up(text: &str) -> StartupMessage {
        StartupMessage::parse(false, text.as_bytes()).unwrap()
    }

    fn refusal(start_up: &StartupMessage) -> String {
        let mut writer = ConnectionWriter::new("postgres").unwrap();
        writer.add(USER, "orders").unwrap();
        writer.add(DATABASE, "shop").unwrap();
        let payload = writer.finish();
        let connection = Connection::parse(&payload).unwrap();
        let checked = start_up.check().and_then(|()| start_up.check_session(connection));
        checked.map_or_else(|refusal| format!("{refusal:?}"), |()| String::new())
    }

    #[test]
    fn another_user_or_database_is_refused() {
        assert_eq!(refusal(&start_up("user\0orders\0database\0shop\0\0")), "");
        assert!(refusal(&start_up("user\0eve\0database\0shop\0\0")).contains("of user"));
        assert!(refusal(&start_up("user\0orders\0\0")).contains("of database"));
    }

    #[test]
    fn what_a_session_cannot_become_is_refused() {
        let with =
            |more: &str| refusal(&start_up(&format!("user\0orders\0database\0shop\0{more}\0")));
        assert!(with("replication\0database\0").contains("replication"));
        assert_eq!(with("replication\0false\0"), "");
        assert!(with("options\0-c a=b\0").contains("PGOPTIONS"));
    }

    #[test]
    fn newer_protocols_are_negotiated_down() {
        assert!(start_up("user\0a\0\0").negotiation().is_empty());
        let negotiation = start_up("user\0a\0_pq_.x\0y\0\0").negotiation();
        assert_eq!(negotiation, b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
        assert!(
            StartupMessage::parse(true, b"user\0a\0\0")
                .is_some_and(|it| !it.negotiation().is_empty())
        );
    }

    #[test]
    fn a_start_up_that_is_cut_is_refused() {
        assert!(StartupMessage::parse(false, b"user").is_none());
        assert!(StartupMessage::parse(false, b"user\0\xff\0\0").is_none());
    }
}
