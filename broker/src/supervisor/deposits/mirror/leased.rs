//! A lease, as the journal has it.

use std::os::fd::BorrowedFd;

use fdbroker_policy::{Slot, Uid};

use super::objects::ObjectNumber;
use crate::fd::PeerFd;
use crate::process_identity::ProcessIdentity;

/// What comes back of a lease, beside its connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leased {
    pub(crate) number: u64,
    pub(crate) resource: String,
    pub(crate) slot: Slot,
    /// Whether the kernel encrypts what goes over its connection.
    pub(crate) by_kernel: bool,
    pub(crate) uid: Uid,
    pub(crate) pid: i32,
    /// The process that asked, where there was one that can be told from others.
    pub(crate) process: Option<ProcessIdentity>,
    /// When it began, in milliseconds since 1970.
    pub(crate) since: u64,
    /// When it ends at the latest, by the monotonic clock, in milliseconds.
    pub(crate) expires: Option<u64>,
}

/// A lease that comes back.
pub(crate) struct ReturnedLease {
    pub(crate) leased: Leased,
    pub(super) connection: PeerFd,
    pub(super) object: ObjectNumber,
}

impl ReturnedLease {
    /// Its connection.
    pub(crate) fn connection(&self) -> Option<BorrowedFd<'_>> {
        self.connection.descriptor()
    }
}
