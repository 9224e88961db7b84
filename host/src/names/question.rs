//! What a name service is asked, and what it says.

use fdbroker_policy::{LookupError, Uid};

/// What is to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The user of a name.
    User(String),
    /// The group of a name.
    Group(String),
    /// The user of a number.
    Number(Uid),
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// A user's primary group; a group itself.
    pub gid: u32,
}

/// It, or nothing if there is none. An error says that nobody can tell.
pub type Answer = Result<Option<Entry>, LookupError>;

impl Question {
    /// Whether a user or a group can have such a name: no file and no service has one with a NUL or a line's end.
    pub(super) fn is_possible(&self) -> bool {
        let (Self::User(name) | Self::Group(name)) = self else { return true };
        !name.is_empty() && !name.contains(['\0', '\n'])
    }
}
