//! A connection that a helper has made, as it tells its supervisor: what is recorded of it, and its payload.
//!
//! The supervisor takes the two apart by their lengths, and looks no further.

use fdbroker_wire::connection::{BACKEND_PID, CLIENT_ID, PEER};
use fdbroker_wire::{Connection, Described, MAX_PAYLOAD};

/// Whether there is a session's number, that number, and how long the peer is.
const HEAD: usize = 1 + size_of::<u64>() + 1;

/// A connection, told from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NewConnection<'a> {
    /// The address that answered.
    pub(crate) peer: &'a str,
    /// The number by which the server knows the session. Never what cancels a request.
    pub(crate) session: Option<u64>,
    pub(crate) payload: &'a [u8],
}

impl<'a> NewConnection<'a> {
    /// The most bytes that it takes.
    pub(super) const MAX_SIZE: usize = HEAD + Described::MAX_PEER + MAX_PAYLOAD;

    /// Returns what has this payload, which the caller itself has written.
    pub(super) fn of(payload: &'a [u8]) -> Self {
        let text = |name| Connection::parse(payload).and_then(|it| it.text(name));
        let number = |name| text(name).and_then(|text| text.parse().ok());
        let session = number(BACKEND_PID).or_else(|| number(CLIENT_ID));
        Self { peer: text(PEER).unwrap_or_default(), session, payload }
    }

    /// Returns the message, which begins with its kind.
    pub(super) fn to_bytes(self, kind: u8) -> Vec<u8> {
        let Self { peer, session, payload } = self;
        let length = peer.floor_char_boundary(Described::MAX_PEER);
        let peer = peer.get(..length).unwrap_or_default().as_bytes();
        let head = [kind, u8::from(session.is_some())];
        let length = [u8::try_from(length).unwrap_or_default()];
        [&head[..], &session.unwrap_or(0).to_ne_bytes(), &length, peer, payload].concat()
    }

    /// Returns what comes behind the kind, or `None` if it is none.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Option<Self> {
        let (is_known, rest) = bytes.split_first()?;
        let (session, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (peer, payload) = rest.split_at_checked(usize::from(*length))?;
        let session = (*is_known != 0).then_some(u64::from_ne_bytes(*session));
        let fits = peer.len() <= Described::MAX_PEER && payload.len() <= MAX_PAYLOAD;
        fits.then_some(Self { peer: str::from_utf8(peer).ok()?, session, payload })
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_wire::ConnectionWriter;
    use fdbroker_wire::connection::BACKEND_KEY;

    use super::*;

    fn recorded(peer: &str, session: &str) -> (String, Option<u64>) {
        let mut writer = ConnectionWriter::new("postgres").unwrap();
        writer.add(PEER, peer).unwrap();
        writer.add(BACKEND_PID, session).unwrap();
        writer.add(BACKEND_KEY, "4711").unwrap();
        let payload = writer.finish();
        let bytes = NewConnection::of(&payload).to_bytes(0);
        let connection = NewConnection::from_bytes(&bytes[1..]).unwrap();
        assert_eq!(connection.payload, &payload[..]);
        (connection.peer.to_owned(), connection.session)
    }

    #[test]
    fn a_connection_is_told_from_others_by_its_peer_and_its_session() {
        let peer = "tcp:127.0.0.1:5432";
        assert_eq!(recorded(peer, "815"), (peer.to_owned(), Some(815)));
    }

    #[test]
    fn a_peer_is_shortened_and_a_session_is_a_number_or_nothing() {
        let (peer, session) = recorded(&"€".repeat(4000), "815 verdict=granted");
        assert_eq!((peer.len(), session), (126, None));
        assert_eq!(recorded("x", "-1").1, None);
    }
}
