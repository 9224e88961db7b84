//! What a connection is, as far as the broker itself has to know. It reads no payload for that.

use crate::connection::{DIRECT, KTLS, RELAYED};
use crate::fields::{Body, Fields};

/// How a descriptor leads to its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Relay {
    /// It is the server's socket.
    #[default]
    Direct,
    /// It is the server's socket, and the kernel encrypts what goes over it.
    Ktls,
    /// A process of the broker's is between.
    Relayed,
}

/// A connection, told from others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Described {
    /// How its descriptor leads to the server.
    pub relay: Relay,
    /// The address that answered; empty where that is not known.
    pub peer: String,
    /// The number by which the server knows the session, where it has told one.
    pub session: Option<u64>,
}

impl Described {
    /// The most bytes of an address that are told. No honest one is longer.
    pub const MAX_PEER: usize = 128;

    /// Returns the address that answered, where that is known.
    #[must_use]
    pub fn known_peer(&self) -> Option<&str> {
        Some(&*self.peer).filter(|peer| !peer.is_empty())
    }
}

impl Relay {
    const ALL: [(Self, u32); 3] = [(Self::Direct, 1), (Self::Ktls, 2), (Self::Relayed, 3)];

    /// As a payload and a list of leases have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => DIRECT,
            Self::Ktls => KTLS,
            Self::Relayed => RELAYED,
        }
    }

    fn number(self) -> u32 {
        Self::ALL.iter().find(|(relay, _)| *relay == self).map_or(0, |(_, number)| *number)
    }
}

impl Body {
    /// How it leads to the server and the rest, or zero.
    pub(super) fn described(&mut self, described: Option<&Described>) -> &mut Self {
        let Some(Described { relay, peer, session }) = described else { return self.u32(0) };
        self.u32(relay.number()).u32(u32::from(session.is_some())).u64(session.unwrap_or(0));
        self.string(peer)
    }
}

impl Fields<'_> {
    pub(super) fn described(&mut self) -> Option<Option<Described>> {
        let number = self.u32()?;
        if number == 0 {
            return Some(None);
        }
        let (relay, _) = Relay::ALL.into_iter().find(|(_, of)| *of == number)?;
        let (is_known, session, peer) = (self.u32()? != 0, self.u64()?, self.string()?);
        let session = is_known.then_some(session);
        let fits = peer.len() <= Described::MAX_PEER;
        fits.then_some(Some(Described { relay, peer, session }))
    }
}
