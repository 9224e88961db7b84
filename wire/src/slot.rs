//! Where a deposit lies: a tag, an index in it, and both together.

use std::fmt;
use std::str::FromStr;

/// The number of a group of slots, 0 to 32767.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(i16);

impl Tag {
    /// The tag of this number; none when it is negative.
    pub const fn new(number: i16) -> Option<Self> {
        if number < 0 { None } else { Some(Self(number)) }
    }

    /// The number, as it stands on the wire.
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
    /// The index of this number; none when it is negative.
    pub const fn new(number: i32) -> Option<Self> {
        if number < 0 { None } else { Some(Self(number)) }
    }

    /// The number, as it stands on the wire.
    pub const fn get(self) -> i32 {
        self.0
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
    /// The slot of these numbers; none when either is negative.
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

    /// Reads decimal digits, without a sign.
    fn from_str(text: &str) -> Result<Self, NotANumber> {
        digits(text)?.parse().ok().and_then(Self::new).ok_or(NotANumber)
    }
}

impl FromStr for Index {
    type Err = NotANumber;

    /// Reads decimal digits, without a sign.
    fn from_str(text: &str) -> Result<Self, NotANumber> {
        digits(text)?.parse().ok().and_then(Self::new).ok_or(NotANumber)
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

fn digits(text: &str) -> Result<&str, NotANumber> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { Ok(text) } else { Err(NotANumber) }
}

#[cfg(test)]
mod tests {
    use super::{Slot, Tag};

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
        for text in
            ["", "/", "10", "10/", "/3", "+10/3", "10/+3", "-0/3", "10/-0", " 10/3", "1/2/3"]
        {
            assert!(text.parse::<Slot>().is_err(), "{text}");
        }
        assert!("32768/0".parse::<Slot>().is_err() && "0/2147483648".parse::<Slot>().is_err());
        assert!(Slot::new(-1, 0).is_none() && Slot::new(0, -1).is_none());
    }
}
