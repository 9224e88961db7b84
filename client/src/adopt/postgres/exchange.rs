//! The start-up of a client, apart from its socket: what each side says, and what each is to hear.
//!
//! The stream for tokio-postgres is driven by it, and so is the relay of `fdbroker exec`.

use std::{fmt, io};

use fdbroker_wire::Connection;

use super::answer;
use super::message::{self, Message};
use super::opening::Opening;
use super::settings;
use super::startup_message::{Beginning, StartupMessage};

/// How far the start-up is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The client has not said all of it.
    Begins,
    /// The server makes the client's settings.
    Sets,
    /// The client is told why not, and then the stream ends.
    Refused,
    /// The stream is the socket.
    Open,
}

/// The start-up of one client in a session.
pub struct Exchange {
    payload: Vec<u8>,
    /// How far it is.
    pub phase: Phase,
    opening: Opening,
    /// What the server has said of a message that is not all there.
    said: Vec<u8>,
    /// What the client has yet to hear, before anything else of the server.
    pub to_client: Vec<u8>,
    /// What the server has yet to hear, before anything else of the client.
    pub to_server: Vec<u8>,
}

/// Without the payload, which has the key that cancels requests.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Begins, with the payload of the session.
    #[must_use]
    pub fn new(payload: Vec<u8>) -> Self {
        Self {
            payload,
            phase: Phase::Begins,
            opening: Opening::default(),
            said: Vec::new(),
            to_client: Vec::new(),
            to_server: Vec::new(),
        }
    }

    /// Begins with a client that has said what it wants, and these bytes after it.
    #[must_use]
    pub fn begun(payload: Vec<u8>, start_up: &StartupMessage, rest: Vec<u8>) -> Self {
        let mut exchange = Self::new(payload);
        exchange.answer(start_up, rest);
        exchange
    }

    /// Returns what the session is.
    #[must_use]
    pub fn connection(&self) -> Option<Connection<'_>> {
        Connection::parse(&self.payload)
    }

    /// Whether it is over, and each side has heard all of it.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.phase == Phase::Open && self.to_client.is_empty() && self.to_server.is_empty()
    }

    /// Takes what the client says in [`Phase::Begins`].
    ///
    /// # Errors
    /// As [`Opening::client_says`]; Unsupported if the client wants no session.
    pub fn client_says(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.opening.client_says(bytes, &mut self.to_client)? {
            Some((Beginning::Session(start_up), rest)) => self.answer(&start_up, rest),
            Some(_) => return Err(io::ErrorKind::Unsupported.into()),
            None => {}
        }
        Ok(())
    }

    /// Answers a StartupMessage, or has the server make its settings first.
    fn answer(&mut self, start_up: &StartupMessage, rest: Vec<u8>) {
        let Some(connection) = Connection::parse(&self.payload) else { return };
        if let Err(refusal) = start_up.check().and_then(|()| start_up.check_session(connection)) {
            self.to_client.extend(refusal.message());
            self.phase = Phase::Refused;
            return;
        }
        self.to_client.extend(start_up.negotiation());
        self.to_client.extend(answer::start_up(connection).unwrap_or_default());
        if let Some(query) = settings::query(&start_up.settings, connection) {
            self.to_server.extend(query);
            self.said = connection.early().to_vec();
            self.phase = Phase::Sets;
        } else {
            self.to_client.extend(answer::ready(connection));
            self.phase = Phase::Open;
        }
        self.to_server.extend(rest);
    }

    /// Takes what the server says in [`Phase::Sets`]. The client hears of parameters, notices and the end.
    ///
    /// # Errors
    /// If it is none of the protocol.
    pub fn server_says(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.said.extend(bytes);
        let mut heard = std::mem::take(&mut self.said);
        while let Some(Message { kind, bytes, rest }) = message::first(&heard)? {
            if matches!(kind, b'S' | b'N' | b'E' | b'Z') {
                self.to_client.extend(bytes);
            }
            match kind {
                b'E' => self.phase = Phase::Refused,
                b'Z' => {
                    self.to_client.extend(rest);
                    self.phase = Phase::Open;
                }
                _ => {
                    heard = rest.to_vec();
                    continue;
                }
            }
            return Ok(());
        }
        self.said = heard;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker_wire::ConnectionWriter;
    use fdbroker_wire::connection::{DATABASE, USER};

    const TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    const ANSWER: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x11TimeZone\0UTC\0";

    fn begun() -> Exchange {
        let mut writer = ConnectionWriter::new(answer::PROTOCOL).unwrap();
        writer.add(USER, "orders").unwrap();
        writer.add(DATABASE, "shop").unwrap();
        writer.add("parameter.TimeZone", "UTC").unwrap();
        Exchange::new(writer.finish().to_vec())
    }

    fn startup_message(text: &str) -> Vec<u8> {
        let text = format!("user\0orders\0database\0shop\0{text}\0");
        let length = u32::try_from(text.len() + 8).unwrap();
        [&length.to_be_bytes(), &[0, 3, 0, 0][..], text.as_bytes()].concat()
    }

    #[test]
    fn a_client_is_answered_whatever_parts_its_bytes_come_in() {
        let said = [&TLS[..], &startup_message("TimeZone\0UTC\0")].concat();
        for size in 1..said.len() {
            let mut exchange = begun();
            for part in said.chunks(size) {
                assert_eq!(exchange.phase, Phase::Begins);
                exchange.client_says(part).unwrap();
            }
            assert_eq!(exchange.phase, Phase::Open);
            assert_eq!(exchange.to_client, [b"N", ANSWER, b"Z\0\0\0\x05I"].concat());
            assert!(exchange.to_server.is_empty());
        }
    }

    #[test]
    fn settings_are_made_before_the_client_is_told_that_all_is_ready() {
        let mut exchange = begun();
        exchange.client_says(&startup_message("application_name\0shop\0")).unwrap();
        assert_eq!(exchange.phase, Phase::Sets);
        assert!(exchange.to_server.starts_with(b"Q"));
        assert_eq!(std::mem::take(&mut exchange.to_client), ANSWER);
        let name = message::message(b'S', b"application_name\0shop\0");
        let answers = [message::message(b'D', b"row"), name.clone(), message::message(b'C', b"x")];
        for byte in answers.concat() {
            exchange.server_says(&[byte]).unwrap();
        }
        assert_eq!((exchange.phase, &exchange.to_client), (Phase::Sets, &name));
        exchange.server_says(b"Z\0\0\0\x05Ilater").unwrap();
        assert_eq!(exchange.phase, Phase::Open);
        assert_eq!(exchange.to_client, [&name[..], b"Z\0\0\0\x05Ilater"].concat());
    }

    #[test]
    fn whatever_the_session_is_not_is_refused() {
        let mut exchange = begun();
        exchange.client_says(&startup_message("replication\0true\0")).unwrap();
        assert_eq!(exchange.phase, Phase::Refused);
        assert!(exchange.to_client.starts_with(b"E"));
        let mut refused = begun();
        refused.client_says(&startup_message("a\0b\0")).unwrap();
        refused.server_says(&message::message(b'E', b"no\0")).unwrap();
        assert_eq!(refused.phase, Phase::Refused);
    }
}
