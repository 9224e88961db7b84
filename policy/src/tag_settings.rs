//! A tag as the policy declares it.

use crate::{Accept, Tag};

/// One table `[tags.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSettings {
    /// What the policy calls it.
    pub name: String,
    /// Its number on the wire.
    pub id: Tag,
    /// One session at a time; the next waits.
    pub serial: bool,
    /// Kinds of descriptor that a deposit may bring.
    pub accept: Accept,
}
