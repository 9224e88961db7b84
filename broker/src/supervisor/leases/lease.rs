//! One lease: what was handed out, and to whom.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fdbroker_wire::Lease;

use super::holders::HolderPlace;
use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::mirror::leased::Leased;
use crate::supervisor::deposits::unclosed::OpeningNotice;

/// A lease's number. It is in the payload of what is handed out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LeaseNumber(pub(crate) u64);

/// Numbers for leases, from 1 on.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

/// What is handed out if its caller gets it on terms.
pub(crate) struct LeaseOffer {
    pub(crate) lease: Lease,
    /// Its place among the holders.
    pub(crate) place: Option<HolderPlace>,
    /// On whose account the duplicate is closed.
    pub(crate) payer: Payer,
    /// The process that asked, where the kernel names it.
    pub(crate) process: Option<PeerFd>,
    /// The charge for what the supervisor keeps of it.
    pub(crate) until_closed: Arc<Option<OpeningNotice>>,
}

/// What is held.
pub(super) struct HeldLease {
    pub(super) lease: Lease,
    pub(super) socket: PeerFd,
    pub(super) process: Option<OwnedFd>,
}

impl HeldLease {
    /// What the mirror is to have of it.
    pub(super) fn mirrored(&self) -> Leased {
        let process = self.process.as_ref().map(AsFd::as_fd);
        let process = process.and_then(|process| ProcessIdentity::of(self.lease.pid, process));
        Leased { lease: self.lease.clone(), process }
    }
}

impl Numbers {
    /// No number up to this one is used again.
    pub(crate) fn skip(&self, LeaseNumber(number): LeaseNumber) {
        self.0.fetch_max(number, Ordering::Relaxed);
    }

    /// The highest that has been used.
    pub(crate) fn last(&self) -> LeaseNumber {
        LeaseNumber(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn next(&self) -> LeaseNumber {
        LeaseNumber(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl fmt::Display for LeaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
