//! One deposit, as the supervisor keeps it: opaque but for its depositor.

use fdbroker_wire::{Payload, Slot};

use super::unclosed::Leaving;
use crate::fd::PeerFd;
use crate::payer::Payer;

/// One deposit.
pub(crate) struct Kept {
    pub(crate) slot: Slot,
    /// On whose account it is.
    pub(crate) payer: Payer,
    pub(crate) ufd: i32,
    pub(crate) payload: Payload,
    pub(crate) descriptor: Option<PeerFd>,
    /// Told when the descriptor leaves its slot, for the count of what is not closed yet.
    pub(crate) leaving: Option<Leaving>,
}
