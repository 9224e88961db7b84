//! What a right is asked for.

use crate::{Right, Slot, Tag};

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

    /// Returns what a right counts of when it is asked for this: [`Right::Tag`] and [`Right::Claim`] count of the
    /// slot's tag.
    pub(crate) const fn for_right(self, right: Right) -> Self {
        match (right, self) {
            (Right::Tag | Right::Claim, Self::Slot(slot)) => Self::Tag(slot.tag),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Index;

    #[test]
    fn asked_for_a_slot_the_rights_to_a_tag_count_of_its_tag_and_the_others_of_the_slot() {
        let slot = Slot { tag: Tag::new(7).unwrap(), index: Index::MIN };
        for right in Right::ALL {
            let subject = Target::Slot(slot).for_right(right);
            if matches!(right, Right::Tag | Right::Claim) {
                assert_eq!(subject, Target::Tag(slot.tag), "{right}");
            } else {
                assert_eq!(subject, Target::Slot(slot), "{right}");
            }
            assert_eq!(Target::Broker.for_right(right), Target::Broker, "{right}");
        }
    }
}
