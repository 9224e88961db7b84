//! Where a deposit lies: a tag, an index in it, and both together.

use std::fmt;
use std::str::FromStr;

use crate::decimal;

/// The number of a group of slots, 0 to 32767.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(i16);

impl Tag {
    /// The greatest tag.
    pub const MAX: Self = Self(i16::MAX);

    /// Returns the tag of this number, or `None` if it is negative.
    #[must_use]
    pub const fn new(number: i16) -> Option<Self> {
        if number < 0 { None } else { Some(Self(number)) }
    }

    /// Returns the number that stands on the wire; it is not negative.
    #[must_use]
    pub const fn get(self) -> i16 {
        self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a slot in its tag, 0 to 2³¹−1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Index(i32);

impl Index {
    /// The first index.
    pub const MIN: Self = Self(0);
    /// The greatest index.
    pub const MAX: Self = Self(i32::MAX);

    /// Returns the index of this number, or `None` if it is negative.
    #[must_use]
    pub const fn new(number: i32) -> Option<Self> {
        if number < 0 { None } else { Some(Self(number)) }
    }

    /// Returns the number that stands on the wire; it is not negative.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// Returns the next index, or `None` after the greatest.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the index before, or `None` before the first.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        Self::new(self.0 - 1)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One place for a deposit, written `tag/index`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot {
    /// The group.
    pub tag: Tag,
    /// The place in the group.
    pub index: Index,
}

impl Slot {
    /// Returns the slot of these numbers, or `None` if either is negative.
    #[must_use]
    pub const fn new(tag: i16, index: i32) -> Option<Self> {
        match (Tag::new(tag), Index::new(index)) {
            (Some(tag), Some(index)) => Some(Self { tag, index }),
            _ => None,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tag, self.index)
    }
}

/// A text that is no tag, or no `tag/index`, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotANumber;

impl fmt::Display for NotANumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not by number: a tag is a number from 0 to 32767, a slot is tag/index, with an index from 0 to 2147483647")
    }
}

impl std::error::Error for NotANumber {}

impl FromStr for Tag {
    type Err = NotANumber;

    /// Reads decimal digits, without sign or leading zero.
    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let number = decimal(text).and_then(|number| i16::try_from(number).ok());
        number.and_then(Self::new).ok_or(NotANumber)
    }
}

impl FromStr for Index {
    type Err = NotANumber;

    /// Reads decimal digits, without sign or leading zero.
    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let number = decimal(text).and_then(|number| i32::try_from(number).ok());
        number.and_then(Self::new).ok_or(NotANumber)
    }
}

impl FromStr for Slot {
    type Err = NotANumber;

    /// Reads what `Display` writes, such as `10/3`.
    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let (tag, index) = text.split_once('/').ok_or(NotANumber)?;
        Ok(Self { tag: tag.parse()?, index: index.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Index, Slot, Tag};

    #[test]
    fn what_is_no_number_is_told_how_both_a_tag_and_a_slot_are_written() {
        let said = "shop".parse::<Tag>().unwrap_err().to_string();
        assert!(said.contains("a tag is a number from 0 to 32767"), "{said}");
        assert!(said.contains("a slot is tag/index"), "{said}");
    }

    #[test]
    fn a_slot_is_read_from_digits_and_a_slash_and_from_nothing_else() {
        let last = Slot::new(i16::MAX, i32::MAX).unwrap();
        for (text, slot) in [("10/3", Slot::new(10, 3).unwrap()), ("32767/2147483647", last)] {
            assert_eq!(text.parse(), Ok(slot));
            assert_eq!(slot.to_string(), text);
        }
        for text in [
            "", "/", "10", "10/", "/3", "+10/3", "10/+3", "-0/3", "10/-0", " 10/3", "1/2/3",
            "010/3",
        ] {
            assert!(text.parse::<Slot>().is_err(), "{text}");
        }
        assert!("32768/0".parse::<Slot>().is_err() && "0/2147483648".parse::<Slot>().is_err());
        assert!(Slot::new(-1, 0).is_none() && Slot::new(0, -1).is_none());
    }

    #[test]
    fn a_tag_ends_at_32767_and_an_index_at_2_to_the_31_less_1() {
        assert_eq!(("32767".parse(), Tag::MAX.get()), (Ok(Tag::MAX), 32767));
        assert_eq!(("2147483647".parse(), Index::MAX.get()), (Ok(Index::MAX), 2_147_483_647));
        let around =
            |index: Index| (index.previous().map(Index::get), index.next().map(Index::get));
        assert_eq!(around(Index::MIN), (None, Some(1)));
        assert_eq!(around(Index::MAX), (Some(2_147_483_646), None));
    }
}
