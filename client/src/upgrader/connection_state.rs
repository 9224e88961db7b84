//! What a process knows about a connection, and the next one has to know to go on with it.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use super::Address;
use crate::shown::Bytes;

/// What is handed on with a connection, so that nothing that was buffered is lost.
///
/// All of it together, with the connection's name, has to fit into one payload of 32 KiB. Its
/// `Debug` shows how many bytes there are, and none of them.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConnectionState {
    /// The other end.
    pub peer: Option<Address>,
    /// This end.
    pub local: Option<Address>,
    /// Which protocol is spoken on it, in the words of the program, such as `h2`.
    pub protocol: Option<String>,
    /// Bytes that were read from it and not yet worked on: to be worked on before reading more.
    pub buffered: Vec<u8>,
    /// Whatever else the program wants to hand on.
    pub extra: Vec<u8>,
}

impl ConnectionState {
    /// The state of a connection on which nothing has been read: its two addresses.
    ///
    /// # Errors
    /// As getsockname(2), for what is no socket. A peer that has gone already is none of them.
    pub fn of(connection: impl AsFd) -> io::Result<Self> {
        let local = Address::of_local(&connection)?;
        // A connection that was reset has no peer any more, see getpeername(2).
        let peer = Address::of_peer(&connection).unwrap_or(None);
        Ok(Self { peer, local, ..Self::default() })
    }

    /// The same, with the protocol.
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }

    /// The same, with bytes that were read and not yet worked on.
    pub fn buffered(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.buffered = bytes.into();
        self
    }

    /// The same, with whatever else the program wants to hand on.
    pub fn extra(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.extra = bytes.into();
        self
    }
}

impl fmt::Debug for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, local, protocol, buffered, extra } = self;
        let mut shown = f.debug_struct("ConnectionState");
        shown.field("peer", peer).field("local", local).field("protocol", protocol);
        shown.field("buffered", &Bytes(buffered)).field("extra", &Bytes(extra)).finish()
    }
}
