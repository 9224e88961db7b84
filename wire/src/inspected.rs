//! What INSPECT asks for: all of one sort, of all users.

/// What an operator may see all of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Inspected {
    /// What is in the slots: deposits and resources.
    Slots,
    /// The connections to the broker.
    Sessions,
    /// The users who have something there, and how much of what they may have.
    Users,
}

impl Inspected {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Slots, Self::Sessions, Self::Users];

    pub(crate) const fn number(self) -> i16 {
        match self {
            Self::Slots => 1,
            Self::Sessions => 2,
            Self::Users => 3,
        }
    }

    pub(crate) fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|inspected| inspected.number() == number)
    }
}
