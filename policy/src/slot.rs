//! A place in the escrow: a tag and an index within it.

use std::fmt;

/// The number of a group of slots, from 0 to 32767.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u16);

/// The number of a slot within its tag, from 0 to 2147483647.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(u32);

/// One place, printed as `10/3`: tag 10, index 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The group of slots it belongs to.
    pub tag: Tag,
    /// Its number in that group.
    pub index: Index,
}

impl Tag {
    /// The greatest tag: on the wire a tag is a signed 16-bit number, and not negative.
    pub const MAX: Self = Self(i16::MAX.unsigned_abs());

    /// The tag of this number; `None` above [`Tag::MAX`].
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// The number of the tag.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Index {
    /// The first one.
    pub const MIN: Self = Self(0);
    /// The greatest index: on the wire an index is a signed 32-bit number, and not negative.
    pub const MAX: Self = Self(i32::MAX.unsigned_abs());

    /// The index of this number; `None` above [`Index::MAX`].
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// The number of the slot in its tag.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Reads a number as it stands in `tag/7` or `1/0`: decimal digits, nothing else, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits { text.parse().ok() } else { None }
}

/// Reads an index as it stands in `tag/7`.
pub(crate) fn index(text: &str) -> Option<Index> {
    Index::new(u32::try_from(decimal(text)?).ok()?)
}

/// Reads a tag given by number.
pub(crate) fn tag(text: &str) -> Option<Tag> {
    Tag::new(u16::try_from(decimal(text)?).ok()?)
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tag, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_ends_at_32767_and_an_index_at_2_to_the_31_less_1() {
        assert_eq!(Tag::new(32767), Some(Tag::MAX));
        assert_eq!(Tag::new(32768), None);
        assert_eq!(Index::new(2_147_483_647), Some(Index::MAX));
        assert_eq!(Index::new(2_147_483_648), None);
    }

    #[test]
    fn a_slot_prints_as_tag_slash_index() {
        let slot = Slot { tag: Tag(10), index: Index(3) };
        assert_eq!(slot.to_string(), "10/3");
    }

    #[test]
    fn a_number_is_digits_without_sign_space_or_leading_zero() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("120"), Some(120));
        for junk in ["", "+1", "-1", " 1", "1 ", "01", "1_0", "0x1", "99999999999999999999"] {
            assert_eq!(decimal(junk), None, "{junk:?}");
        }
    }
}
