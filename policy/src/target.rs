//! What a right is asked for.

use crate::{Slot, Tag};

/// What a right is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// One slot.
    Slot(Slot),
    /// A tag as a whole.
    Tag(Tag),
    /// The broker itself.
    Broker,
}

impl Target {
    /// The tag that the target is, or lies in.
    #[must_use]
    pub const fn tag(self) -> Option<Tag> {
        match self {
            Self::Slot(slot) => Some(slot.tag),
            Self::Tag(tag) => Some(tag),
            Self::Broker => None,
        }
    }
}
