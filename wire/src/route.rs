//! How the connections of a resource lead to their server, as a listing tells it.

use crate::connection::{DIRECT, RELAYED};

/// What each connection of a resource is. Its own payload says which, where there are two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// The descriptor is the socket to the server.
    Direct,
    /// A process of the broker passes on what goes over the connection, encrypted.
    Relayed,
    /// The kernel encrypts what goes over the socket; or else it is as [`Route::Relayed`].
    KtlsOrRelayed,
}

/// The bits of an entry's marks that tell it.
const MASK: u8 = 0b1100;

impl Route {
    const ALL: [(Self, u8, &'static str); 3] = [
        (Self::Direct, 0b0100, DIRECT),
        (Self::Relayed, 0b1000, RELAYED),
        (Self::KtlsOrRelayed, 0b1100, "ktls-or-relayed"),
    ];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(route, ..)| *route == self).map_or("", |(.., name)| name)
    }

    pub(crate) fn marks(route: Option<Self>) -> u8 {
        let found = Self::ALL.iter().find(|(found, ..)| Some(*found) == route);
        found.map_or(0, |(_, marks, _)| *marks)
    }

    pub(crate) fn of_marks(marks: u8) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, bits, _)| *bits == marks & MASK);
        found.map(|(route, ..)| *route)
    }
}
