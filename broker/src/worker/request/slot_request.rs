//! What is asked of one slot, or of a tag's slots: by which right, and where.

use fdbroker_policy::Right;
use fdbroker_wire::{Add, Slot, Tag};

use super::place::Place;
use crate::fd::PeerFd;
use crate::worker::policy::active::Rules;

/// What is asked of a slot or tag.
pub(crate) enum SlotRequest {
    Get(Slot),
    Add(Add<PeerFd>),
    Del(Slot),
    Count(Tag),
}

impl SlotRequest {
    /// The slot that it is on.
    pub(crate) fn slot(&self) -> Option<Slot> {
        match self {
            Self::Get(slot) | Self::Del(slot) => Some(*slot),
            Self::Add(add) => Some(add.slot),
            Self::Count(_) => None,
        }
    }

    pub(crate) fn right(&self) -> Right {
        match self {
            Self::Get(_) => Right::Get,
            Self::Add(_) => Right::Add,
            Self::Del(_) => Right::Del,
            Self::Count(_) => Right::Tag,
        }
    }

    /// What it addresses.
    pub(crate) fn place<'p>(&self, rules: &'p Rules) -> Place<'p> {
        match self {
            Self::Get(slot) | Self::Del(slot) => Place::slot(&rules.policy, *slot),
            Self::Add(add) => Place::slot(&rules.policy, add.slot),
            Self::Count(tag) => Place::tag(&rules.policy, *tag),
        }
    }
}
