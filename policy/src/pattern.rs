//! The slots that one entry of a rule's `slots` covers, once its names are resolved.

use crate::{Index, Slot, Tag};

/// One entry of `slots`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Every slot of every declared tag.
    Everything,
    /// These slots of one tag, both ends included.
    Range { tag: Tag, first: Index, last: Index },
}

impl Pattern {
    /// Every slot of one tag.
    pub(crate) const fn whole(tag: Tag) -> Self {
        Self::Range { tag, first: Self::FIRST, last: Index::MAX }
    }

    pub(crate) const fn slot(slot: Slot) -> Self {
        Self::Range { tag: slot.tag, first: slot.index, last: slot.index }
    }

    /// Whether a right that counts of a whole tag can come from it.
    pub(crate) fn covers_a_whole_tag(self) -> bool {
        match self {
            Self::Everything => true,
            Self::Range { first, last, .. } => (first, last) == (Self::FIRST, Index::MAX),
        }
    }

    const FIRST: Index = match Index::new(0) {
        Some(index) => index,
        None => Index::MAX,
    };
}
