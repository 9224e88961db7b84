//! A tag as the policy declares it.

use crate::{Accept, Tag};

/// When a change of a tag's slots is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// As soon as it outlives the worker.
    #[default]
    Relaxed,
    /// Once it outlives the broker: the service manager has it.
    Strict,
}

impl Durability {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Relaxed, Self::Strict];

    /// What the policy calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Strict => "strict",
        }
    }
}

/// One table `[tags.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSettings {
    /// What the policy calls it.
    pub name: String,
    /// Its number on the wire.
    pub id: Tag,
    /// One session at a time; the next waits.
    pub serial: bool,
    /// When a change of its slots is answered.
    pub durability: Durability,
    /// Kinds of descriptor that a deposit may bring.
    pub accept: Accept,
}
