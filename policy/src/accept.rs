//! What sorts of descriptor a tag accepts.

use std::fmt;

use crate::Kind;

/// A set of kinds: what a tag accepts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Accept(u32);

impl Accept {
    /// Nothing: the tag holds resources only.
    pub const NOTHING: Self = Self(0);

    /// Every kind; `"any"` in the language.
    pub const ANY: Self = Self::of(&Kind::ALL);

    /// What a tag accepts that does not say.
    ///
    /// Left out are kinds that can hold other descriptors or give access beyond themselves: unix sockets
    /// (a listening one through what waits to be accepted), directories, `O_PATH`, epoll, io_uring and pidfds.
    pub const DEFAULT: Self = Self::of(&[
        Kind::PayloadOnly,
        Kind::Tcp,
        Kind::TcpListener,
        Kind::Udp,
        Kind::File,
        Kind::Pipe,
        Kind::CharDevice,
        Kind::BlockDevice,
        Kind::Eventfd,
    ]);

    /// The set of these kinds.
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < kinds.len() {
            bits |= bit(kinds[at]);
            at += 1;
        }
        Self(bits)
    }

    /// The set with this kind added.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | bit(kind))
    }

    /// Whether a deposit of this kind is accepted.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & bit(kind) != 0
    }

    /// The kinds in the set, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl Default for Accept {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromIterator<Kind> for Accept {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NOTHING, Self::with)
    }
}

impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

const fn bit(kind: Kind) -> u32 {
    1 << kind as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_that_can_hold_other_descriptors_is_accepted_by_default() {
        for kind in [
            Kind::Unix,
            Kind::UnixDatagram,
            Kind::Epoll,
            Kind::IoUring,
            Kind::Directory,
            Kind::Path,
        ] {
            assert!(!Accept::DEFAULT.contains(kind), "{kind}");
            assert!(Accept::ANY.contains(kind), "{kind}");
        }
        assert_eq!(Accept::ANY.iter().count(), Kind::ALL.len());
        assert_eq!(Accept::NOTHING.iter().count(), 0);
    }
}
