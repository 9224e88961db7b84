//! What a connection is that the broker has opened: the payload beside its descriptor.
//!
//! It consists of named values (docs/protocol.md lists them). `protocol` is the first, and each name stands
//! there once. The broker writes it, a client reads it; reading copies nothing and never panics.

use std::collections::BTreeSet;

use crate::MAX_PAYLOAD;
use crate::named::{self, Field, Fields};

/// The payload of a connection, as a client reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connection<'a>(&'a [u8]);

/// A payload being written.
#[derive(Clone, Default)]
pub struct ConnectionWriter(Vec<u8>);

/// The payload would take more than [`MAX_PAYLOAD`] bytes, or a name or value is none that it can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge;

/// The first name: what is spoken, such as `postgres`; `tcp` or `unix` where the broker spoke nothing.
pub const PROTOCOL: &str = "protocol";
/// The address that answered, such as `tcp:192.0.2.7:5432` or `unix:/run/server`.
pub const PEER: &str = "peer";
/// How the descriptor leads to the server: [`DIRECT`], [`KTLS`] or [`RELAYED`].
pub const RELAY: &str = "relay";
/// The value of [`RELAY`] where the descriptor is the server's socket itself.
pub const DIRECT: &str = "direct";
/// The value of [`RELAY`] where the descriptor is the server's socket, and the kernel encrypts what goes over it.
pub const KTLS: &str = "ktls";
/// The value of [`RELAY`] where the descriptor is one end of a pair of Unix sockets, and a process of the broker's
/// passes on what goes over it, encrypted.
pub const RELAYED: &str = "relayed";
/// The role or user that is logged in.
pub const USER: &str = "user";
/// The database.
pub const DATABASE: &str = "database";
/// The server behind the proxy, such as `web.example.net:443`.
pub const TARGET: &str = "target";
/// The address that the proxy says it connects from.
pub const BOUND: &str = "bound";
/// Before the name of a parameter that the server reported.
pub const PARAMETER: &str = "parameter.";
/// The server's process, in decimal.
pub const BACKEND_PID: &str = "backend.pid";
/// The number by which the server lists the connection, in decimal.
pub const CLIENT_ID: &str = "client.id";
/// What the session can do: flags of the protocol, in decimal.
pub const CAPABILITIES: &str = "capabilities";
/// The number of the session's character set, in decimal.
pub const CHARSET: &str = "charset";
/// The state of the session as the server reported it: flags of the protocol, in decimal.
pub const STATUS: &str = "status";
/// What cancels a request of this connection, as the server sent it.
pub const BACKEND_KEY: &str = "backend.key";
/// The state of the transaction, one byte: `I` for none.
pub const TRANSACTION: &str = "transaction";
/// What the program wrote that has logged in.
pub const OUTPUT: &str = "output";
/// The number of the lease, where there is one.
pub const LEASE: &str = "lease";
/// What the server sent after the log-in: it comes before whatever is read from the socket.
pub const EARLY: &str = "early";

impl<'a> Connection<'a> {
    /// Returns the payload, or `None` if these bytes are none of a connection.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > MAX_PAYLOAD {
            return None;
        }
        let mut names = BTreeSet::new();
        for field in Fields::of(bytes) {
            let (name, _) = field?;
            let is_in_place = !names.is_empty() || name == PROTOCOL;
            if !is_in_place || !names.insert(name) {
                return None;
            }
        }
        (!names.is_empty()).then_some(Self(bytes))
    }

    /// Returns every name and value, in their order.
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        Fields::of(self.0).flatten()
    }

    /// Returns a value by its name.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.fields().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Returns a value by its name, if it is text.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.get(name)?).ok()
    }

    /// Returns what is spoken, such as `postgres`.
    #[must_use]
    pub fn protocol(self) -> &'a str {
        self.text(PROTOCOL).unwrap_or_default()
    }

    /// Returns a parameter that the server reported, such as `server_version`, if it is text.
    #[must_use]
    pub fn parameter(self, name: &str) -> Option<&'a str> {
        self.text(&[PARAMETER, name].concat())
    }

    /// Returns what the server sent after the log-in, to be read before anything from the socket.
    #[must_use]
    pub fn early(self) -> &'a [u8] {
        self.get(EARLY).unwrap_or_default()
    }
}

impl std::fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} connection, {} bytes", self.protocol().escape_default(), self.0.len())
    }
}

impl ConnectionWriter {
    /// Begins with what is spoken.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn new(protocol: &str) -> Result<Self, TooLarge> {
        let mut writer = Self::default();
        writer.add(PROTOCOL, protocol)?;
        Ok(writer)
    }

    /// Adds a value; its name must not be there yet.
    ///
    /// # Errors
    /// [`TooLarge`], and nothing was added.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), TooLarge> {
        let value = value.as_ref();
        if self.0.len().saturating_add(named::size(name, value)) > MAX_PAYLOAD {
            return Err(TooLarge);
        }
        named::push(&mut self.0, name, value).map_err(|named::NotAField| TooLarge)
    }

    /// Returns the payload.
    #[must_use]
    pub fn finish(self) -> crate::Payload {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres() -> ConnectionWriter {
        let mut writer = ConnectionWriter::new("postgres").unwrap();
        writer.add(PEER, "tcp:127.0.0.1:5432").unwrap();
        writer.add("parameter.server_version", "15.6").unwrap();
        writer.add(BACKEND_KEY, [0, 255]).unwrap();
        writer
    }

    #[test]
    fn what_was_written_is_read() {
        let payload = postgres().finish();
        let connection = Connection::parse(&payload).unwrap();
        assert_eq!(connection.protocol(), "postgres");
        assert_eq!(connection.text(PEER), Some("tcp:127.0.0.1:5432"));
        assert_eq!(connection.parameter("server_version"), Some("15.6"));
        assert_eq!(connection.get(BACKEND_KEY), Some(&[0, 255][..]));
        assert_eq!(connection.text(BACKEND_KEY), None);
        assert!(connection.early().is_empty());
        assert_eq!(connection.fields().count(), 4);
        assert_eq!(
            format!("{connection:?}"),
            format!("postgres connection, {} bytes", payload.len())
        );
    }

    #[test]
    fn bytes_of_another_deposit_are_none_of_a_connection() {
        let mut other = Vec::new();
        named::push(&mut other, PEER, b"x").unwrap();
        named::push(&mut other, PROTOCOL, b"tcp").unwrap();
        let mut twice = Vec::new();
        named::push(&mut twice, PROTOCOL, b"tcp").unwrap();
        named::push(&mut twice, PROTOCOL, b"unix").unwrap();
        for bytes in [&b""[..], b"x", b"text of a deposit", &other, &twice, &[0; MAX_PAYLOAD]] {
            assert_eq!(Connection::parse(bytes), None);
        }
    }

    #[test]
    fn every_payload_that_is_cut_is_refused_or_has_fewer_fields() {
        let payload = postgres().finish();
        for length in 0..payload.len() {
            let cut = Connection::parse(&payload[..length]);
            assert!(cut.is_none_or(|cut| cut.fields().count() < 4), "{length}");
        }
    }

    #[test]
    fn a_payload_has_a_bound() {
        let mut writer = postgres();
        assert_eq!(writer.add(EARLY, vec![0; MAX_PAYLOAD]), Err(TooLarge));
        let room = MAX_PAYLOAD - writer.0.len() - named::size(EARLY, &[]);
        assert_eq!(writer.add(EARLY, vec![0; room + 1]), Err(TooLarge));
        writer.add(EARLY, vec![7; room]).unwrap();
        let payload = writer.finish();
        assert_eq!(payload.len(), MAX_PAYLOAD);
        assert_eq!(Connection::parse(&payload).unwrap().early().len(), room);
    }
}
