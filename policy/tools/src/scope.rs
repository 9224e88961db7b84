//! What a right is held of, to be shown: a range of slots, a whole tag, the broker.

use fdbroker_policy::rules::Pattern;
use fdbroker_policy::{Index, Slot, Tag, Target};

/// A part of what there are rights to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
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

impl Scope {
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

/// Puts scopes in order, and makes one of those that overlap or touch.
pub(crate) fn joined(mut scopes: Vec<Scope>) -> Vec<Scope> {
    scopes.sort_unstable();
    let mut joined: Vec<Scope> = Vec::with_capacity(scopes.len());
    for scope in scopes {
        match (joined.last_mut(), scope) {
            (
                Some(Scope::Slots { tag: before, last: end, .. }),
                Scope::Slots { tag, first, last },
            ) if *before == tag && first.get() <= end.get().saturating_add(1) => {
                *end = last.max(*end);
            }
            (Some(before), scope) if *before == scope => {}
            _ => joined.push(scope),
        }
    }
    joined
}

impl From<Slot> for Scope {
    fn from(Slot { tag, index }: Slot) -> Self {
        Self::Slots { tag, first: index, last: index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(tag: i16, first: i32, last: i32) -> Scope {
        let index = |number| Index::new(number).unwrap();
        Scope::Slots { tag: Tag::new(tag).unwrap(), first: index(first), last: index(last) }
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

    #[test]
    fn a_tag_as_a_whole_and_the_broker_are_told_once_and_are_no_slots() {
        let [one, two] = [1, 2].map(|tag| Scope::Tag(Tag::new(tag).unwrap()));
        let given = vec![two, one, slots(1, 0, 2), Scope::Broker, two, Scope::Broker];
        assert_eq!(joined(given), [Scope::Broker, one, two, slots(1, 0, 2)]);
    }

    #[test]
    fn an_extent_contains_what_belongs_to_it_and_nothing_else() {
        let tag = |number| Target::Tag(Tag::new(number).unwrap());
        let slot = |tag, index| {
            let (tag, index) = (Tag::new(tag).unwrap(), Index::new(index).unwrap());
            Target::Slot(Slot { tag, index })
        };
        let targets =
            [Target::Broker, tag(1), tag(2), slot(1, 3), slot(1, 4), slot(1, 6), slot(2, 4)];
        let contained = |scope: Scope| targets.map(|target| scope.contains(target));
        let [yes, no] = [true, false];
        assert_eq!(contained(Scope::Broker), [yes, no, no, no, no, no, no]);
        let whole = Scope::Tag(Tag::new(1).unwrap());
        assert_eq!(contained(whole), [no, yes, no, no, no, no, no]);
        assert_eq!(contained(slots(1, 4, 6)), [no, no, no, no, yes, yes, no]);
    }

    #[test]
    fn all_slots_of_a_tag_are_those_from_the_first_to_the_last() {
        let max = Index::MAX.get();
        assert!(slots(1, 0, max).is_all_slots());
        for other in [slots(1, 1, max), slots(1, 0, max - 1), Scope::Broker] {
            assert!(!other.is_all_slots(), "{other:?}");
        }
    }

    #[test]
    fn a_pattern_shares_with_a_range_what_lies_in_both() {
        let index = |number| Index::new(number).unwrap();
        let (tag, range) = (Tag::new(1).unwrap(), (index(4), index(6)));
        let shared = |number, first, last| {
            let tag_of_pattern = Tag::new(number).unwrap();
            let (first, last) = (index(first), index(last));
            Scope::shared(Pattern::Range { tag: tag_of_pattern, first, last }, tag, range)
        };
        assert_eq!(Scope::shared(Pattern::Everything, tag, range), Some(slots(1, 4, 6)));
        assert_eq!(shared(1, 0, 5), Some(slots(1, 4, 5)));
        assert_eq!(shared(1, 6, 9), Some(slots(1, 6, 6)));
        assert_eq!(shared(1, 7, 9), None);
        assert_eq!(shared(2, 0, 9), None);
    }
}
