//! A lease, as the journal has it.

use std::os::fd::BorrowedFd;

use fdbroker_wire::Lease;

use super::object_number::ObjectNumber;
use crate::fd::PeerFd;
use crate::process_identity::ProcessIdentity;

/// What comes back of a lease, beside its connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leased {
    /// It is never relayed.
    pub(crate) lease: Lease,
    /// The process that asked, where there was one that can be told from others.
    pub(crate) process: Option<ProcessIdentity>,
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
