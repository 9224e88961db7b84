//! What a peer may do to a slot, or to the broker.

use std::fmt;
use std::str::FromStr;

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Take a duplicate of the slot's deposit, or open its resource.
    Get,
    /// Deposit something in the slot.
    Add,
    /// Delete one's own deposit.
    Del,
    /// Open a session on the whole tag, and wait one's turn if it is serial. Counts of a tag, not of a slot.
    Tag,
    /// Take the whole tag over from its owner. Counts of a tag, not of a slot.
    Claim,
    /// Overwrite or delete what another user deposited.
    Replace,
    /// See that there is something in the slot, what it is called and of which kind it is.
    List,
    /// See all that the broker has: its deposits, connections and leases, and how it is. Counts of the broker, not of a slot.
    Inspect,
    /// Reload, purge, revoke, ask how the broker is. Counts of the broker, not of a slot.
    Operate,
}

/// The text names no right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRight;

impl Right {
    /// Every right, in the order of the reference.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Add,
        Self::Del,
        Self::Tag,
        Self::Claim,
        Self::Replace,
        Self::List,
        Self::Inspect,
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
            Self::Inspect => "inspect",
            Self::Operate => "operate",
        }
    }

    /// Whether it counts of the broker, and not of slots. `"*"` does not include it.
    #[must_use]
    pub const fn is_of_broker(self) -> bool {
        matches!(self, Self::Inspect | Self::Operate)
    }

    /// Whether it counts of a whole tag: a rule that covers a part of one says nothing about it.
    #[must_use]
    pub const fn is_of_tag(self) -> bool {
        matches!(self, Self::Tag | Self::Claim)
    }

    /// Whether it is a right to change a slot's deposit.
    #[must_use]
    pub const fn is_to_change(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Replace)
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
            "not the name of a right; the rights are get, add, del, tag, claim, replace, list, inspect, operate"
        );
    }
}
