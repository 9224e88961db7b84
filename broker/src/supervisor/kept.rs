//! One deposit, as the supervisor keeps it: opaque but for its depositor.

use fdbroker_wire::{Payload, Slot};

use super::unclosed::Leaving;
use crate::fd::PeerFd;

/// One deposit.
pub(super) struct Kept {
    pub(super) slot: Slot,
    pub(super) ufd: i32,
    pub(super) payload: Payload,
    pub(super) descriptor: Option<PeerFd>,
    /// Of its descriptor: told to whoever counts what is not closed yet.
    pub(super) leaving: Option<Leaving>,
}
