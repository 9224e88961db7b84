//! The slots that one entry of a rule's `slots` covers, once its names are resolved.

use crate::{Index, Slot, Tag, Target};

/// One entry of `slots`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every slot of every declared tag.
    Everything,
    /// These slots of one tag, both ends included.
    Range {
        /// The tag.
        tag: Tag,
        /// The first of its slots.
        first: Index,
        /// The last of them.
        last: Index,
    },
}

impl Pattern {
    /// Every slot of one tag.
    pub const fn whole(tag: Tag) -> Self {
        Self::Range { tag, first: Index::MIN, last: Index::MAX }
    }

    /// One slot.
    pub const fn slot(slot: Slot) -> Self {
        Self::Range { tag: slot.tag, first: slot.index, last: slot.index }
    }

    /// Whether it covers all of a target, given that its tag is declared. The broker is covered by no pattern.
    pub fn covers(self, target: Target) -> bool {
        match (self, target) {
            (_, Target::Broker) => false,
            (Self::Everything, _) => true,
            (Self::Range { tag, .. }, Target::Tag(asked)) => {
                tag == asked && self.covers_a_whole_tag()
            }
            (Self::Range { tag, first, last }, Target::Slot(slot)) => {
                tag == slot.tag && (first..=last).contains(&slot.index)
            }
        }
    }

    /// Whether a right that counts of a whole tag can come from it.
    pub fn covers_a_whole_tag(self) -> bool {
        match self {
            Self::Everything => true,
            Self::Range { first, last, .. } => (first, last) == (Index::MIN, Index::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_tag_is_covered_by_all_of_its_slots_and_not_by_those_of_another() {
        let [one, two] = [1, 2].map(|tag| Tag::new(tag).unwrap());
        let covered = |pattern: Pattern| [one, two].map(|tag| pattern.covers(Target::Tag(tag)));
        assert_eq!(covered(Pattern::whole(one)), [true, false]);
        assert_eq!(covered(Pattern::slot(Slot { tag: one, index: Index::MIN })), [false, false]);
        assert_eq!(covered(Pattern::Everything), [true, true]);
        assert!(!Pattern::Everything.covers(Target::Broker));
    }
}
