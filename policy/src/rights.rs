//! A set of rights.

use crate::Right;

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u16);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);

    /// Every right to a slot, and to a tag.
    pub fn of_slots() -> Self {
        Right::ALL.into_iter().filter(|right| !right.is_of_broker()).collect()
    }

    /// Every right to the broker itself.
    pub fn of_broker() -> Self {
        Right::ALL.into_iter().filter(|right| right.is_of_broker()).collect()
    }

    /// The set with this right added.
    #[must_use]
    pub const fn with(self, right: Right) -> Self {
        Self(self.0 | bit(right))
    }

    /// Whether it has this right.
    #[must_use]
    pub const fn contains(self, right: Right) -> bool {
        self.0 & bit(right) != 0
    }

    /// What is in either set.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn common(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Whether it has no right.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its rights, in the order of the reference.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.contains(*right))
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        rights.into_iter().fold(Self::NONE, Self::with)
    }
}

const fn bit(right: Right) -> u16 {
    1 << right as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let set = Rights::NONE.with(Right::Get).with(Right::Tag);
        let held: Vec<_> = Right::ALL.into_iter().filter(|right| set.contains(*right)).collect();
        assert_eq!(held, [Right::Get, Right::Tag]);
    }

    #[test]
    fn the_rights_to_slots_are_all_but_those_to_the_broker() {
        let others: Vec<_> =
            Right::ALL.into_iter().filter(|right| !Rights::of_slots().contains(*right)).collect();
        assert_eq!(others, [Right::Inspect, Right::Operate]);
        assert_eq!(others, Rights::of_broker().iter().collect::<Vec<_>>());
    }

    #[test]
    fn two_sets_have_in_common_what_is_in_both_and_together_what_is_in_either() {
        let set = |rights: &[Right]| rights.iter().copied().collect::<Rights>();
        let (one, other) = (set(&[Right::Get, Right::Add]), set(&[Right::Add, Right::Del]));
        assert_eq!(one.common(other), set(&[Right::Add]));
        assert_eq!(one.and(other), set(&[Right::Get, Right::Add, Right::Del]));
        assert!(one.common(set(&[Right::Del])).is_empty() && !one.is_empty());
    }
}
