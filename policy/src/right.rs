//! What a peer may do to a slot, or to the broker.

use std::fmt;
use std::str::FromStr;

use crate::Target;

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Take a duplicate of what lies in the slot, or open the resource.
    Get,
    /// Deposit something in the slot.
    Add,
    /// Delete one's own deposit.
    Del,
    /// Open a session on the whole tag, and wait one's turn if it is serial. Counts of a tag, not of a slot.
    Tag,
    /// Take the whole tag over from whoever owns it. Counts of a tag, not of a slot.
    Claim,
    /// Overwrite or delete what another user deposited.
    Replace,
    /// See that there is something in the slot, what it is called and of which kind it is.
    List,
    /// Reload, purge, ask how the broker is. Counts of the broker, not of a slot.
    Operate,
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights(u8);

/// The text names no right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRight;

impl Right {
    /// Every right, in the order of the reference.
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::Add,
        Self::Del,
        Self::Tag,
        Self::Claim,
        Self::Replace,
        Self::List,
        Self::Operate,
    ];

    /// The right's name in the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Add => "add",
            Self::Del => "del",
            Self::Tag => "tag",
            Self::Claim => "claim",
            Self::Replace => "replace",
            Self::List => "list",
            Self::Operate => "operate",
        }
    }

    /// Whether it counts of the broker, and not of slots. `"*"` does not include it.
    #[must_use]
    pub const fn is_of_broker(self) -> bool {
        matches!(self, Self::Operate)
    }

    /// Whether it counts of a whole tag: a rule that covers a part of one says nothing about it.
    #[must_use]
    pub const fn is_of_tag(self) -> bool {
        matches!(self, Self::Tag | Self::Claim)
    }

    /// Whether it is a right to change what lies in a slot.
    #[must_use]
    pub const fn is_to_change(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Replace)
    }

    /// What the right counts of when it is asked for a target: [`Right::Tag`] and [`Right::Claim`] count of the slot's
    /// tag.
    pub(crate) const fn subject(self, target: Target) -> Target {
        match (self, target) {
            (Self::Tag | Self::Claim, Target::Slot(slot)) => Target::Tag(slot.tag),
            _ => target,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Rights {
    pub(crate) const NONE: Self = Self(0);

    /// Every right to a slot, and to a tag.
    pub(crate) fn of_slots() -> Self {
        let of_slots = Right::ALL.into_iter().filter(|right| !right.is_of_broker());
        of_slots.fold(Self::NONE, Self::with)
    }

    pub(crate) const fn with(self, right: Right) -> Self {
        Self(self.0 | right.bit())
    }

    pub(crate) const fn contains(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(crate) const fn common(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Right {
    type Err = UnknownRight;

    fn from_str(text: &str) -> Result<Self, UnknownRight> {
        Self::ALL.into_iter().find(|right| right.name() == text).ok_or(UnknownRight)
    }
}

impl fmt::Display for UnknownRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a right; the rights are")?;
        let mut before = " ";
        for right in Right::ALL {
            write!(f, "{before}{right}")?;
            before = ", ";
        }
        Ok(())
    }
}

impl std::error::Error for UnknownRight {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Index, Slot, Tag};

    #[test]
    fn every_right_is_read_back_from_its_name() {
        for right in Right::ALL {
            assert_eq!(right.to_string().parse(), Ok(right));
        }
        assert_eq!("own".parse::<Right>(), Err(UnknownRight));
    }

    #[test]
    fn who_writes_an_unknown_right_is_told_the_rights() {
        assert_eq!(
            UnknownRight.to_string(),
            "not the name of a right; the rights are get, add, del, tag, claim, replace, list, operate"
        );
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let set = Rights::NONE.with(Right::Get).with(Right::Tag);
        let held: Vec<_> = Right::ALL.into_iter().filter(|right| set.contains(*right)).collect();
        assert_eq!(held, [Right::Get, Right::Tag]);
    }

    #[test]
    fn the_rights_to_slots_are_all_but_the_one_to_the_broker() {
        let others: Vec<_> =
            Right::ALL.into_iter().filter(|right| !Rights::of_slots().contains(*right)).collect();
        assert_eq!(others, [Right::Operate]);
    }

    #[test]
    fn asked_for_a_slot_the_rights_to_a_tag_count_of_its_tag_and_the_others_of_the_slot() {
        let slot = Slot { tag: Tag::new(7).unwrap(), index: Index::MIN };
        for right in Right::ALL {
            let subject = right.subject(Target::Slot(slot));
            if matches!(right, Right::Tag | Right::Claim) {
                assert_eq!(subject, Target::Tag(slot.tag), "{right}");
            } else {
                assert_eq!(subject, Target::Slot(slot), "{right}");
            }
            assert_eq!(right.subject(Target::Broker), Target::Broker, "{right}");
        }
    }

    #[test]
    fn two_sets_have_in_common_what_is_in_both_and_together_what_is_in_either() {
        let set = |rights: &[Right]| rights.iter().copied().fold(Rights::NONE, Rights::with);
        let (one, other) = (set(&[Right::Get, Right::Add]), set(&[Right::Add, Right::Del]));
        assert_eq!(one.common(other), set(&[Right::Add]));
        assert_eq!(one.and(other), set(&[Right::Get, Right::Add, Right::Del]));
        assert!(one.common(set(&[Right::Del])).is_empty() && !one.is_empty());
    }
}
