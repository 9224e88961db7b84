//! What a right is held of, to be shown: a range of slots, a whole tag, the broker.

use crate::pattern::Pattern;
use crate::{Index, Slot, Tag, Target};

/// A part of what there are rights to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// The broker itself.
    Broker,
    /// A tag as a whole; its slots are another matter.
    Tag(Tag),
    /// Slots of one tag, both ends included.
    Slots {
        /// The tag.
        tag: Tag,
        /// The first.
        first: Index,
        /// The last.
        last: Index,
    },
}

impl Extent {
    /// Whether a target belongs to it.
    #[must_use]
    pub fn contains(&self, target: Target) -> bool {
        match (*self, target) {
            (Self::Broker, Target::Broker) => true,
            (Self::Tag(tag), Target::Tag(asked)) => tag == asked,
            (Self::Slots { tag, first, last }, Target::Slot(slot)) => {
                tag == slot.tag && (first..=last).contains(&slot.index)
            }
            _ => false,
        }
    }

    /// Whether these are all slots of a tag.
    #[must_use]
    pub fn is_all_slots(&self) -> bool {
        matches!(self, Self::Slots { first, last, .. } if first.get() == 0 && *last == Index::MAX)
    }

    /// The slots that a pattern shares with a range of one tag, both ends included.
    pub(crate) fn shared(pattern: Pattern, tag: Tag, range: (Index, Index)) -> Option<Self> {
        let (first, last) = match pattern {
            Pattern::Everything => range,
            Pattern::Range { tag: own, first, last } if own == tag => {
                (first.max(range.0), last.min(range.1))
            }
            Pattern::Range { .. } => return None,
        };
        (first <= last).then_some(Self::Slots { tag, first, last })
    }
}

/// Puts extents in order, and makes one of those that overlap or touch.
pub(crate) fn joined(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable();
    let mut joined: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match (joined.last_mut(), extent) {
            (
                Some(Extent::Slots { tag: before, last: end, .. }),
                Extent::Slots { tag, first, last },
            ) if *before == tag && first.get() <= end.get().saturating_add(1) => {
                *end = last.max(*end);
            }
            (Some(before), extent) if *before == extent => {}
            _ => joined.push(extent),
        }
    }
    joined
}

impl From<Slot> for Extent {
    fn from(Slot { tag, index }: Slot) -> Self {
        Self::Slots { tag, first: index, last: index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(tag: u16, first: u32, last: u32) -> Extent {
        let index = |number| Index::new(number).unwrap();
        Extent::Slots { tag: Tag::new(tag).unwrap(), first: index(first), last: index(last) }
    }

    #[test]
    fn neighbours_and_overlapping_ranges_become_one_and_others_do_not() {
        let max = Index::MAX.get();
        let given = vec![
            slots(1, 4, 5),
            slots(1, 0, 2),
            slots(1, 3, 3),
            slots(1, 7, max),
            slots(2, 6, 6),
            slots(1, 9, 9),
        ];
        assert_eq!(joined(given), [slots(1, 0, 5), slots(1, 7, max), slots(2, 6, 6)]);
    }
}
