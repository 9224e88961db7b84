//! One lease: what was handed out, and to whom.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fdbroker_policy::{LeaseTerms, Slot, Uid};
use fdbroker_wire::connection::KTLS;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::holders::HolderPlace;
use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::mirror::leased::Leased;

/// A lease's number. It is in the payload of what is handed out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LeaseNumber(pub(crate) u64);

/// Numbers for leases, from 1 on.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

/// What is handed out if its caller gets it on terms.
pub(crate) struct LeaseOffer {
    pub(crate) number: LeaseNumber,
    pub(crate) resource: String,
    pub(crate) slot: Slot,
    /// How the descriptor leads to the server.
    pub(crate) relay: &'static str,
    pub(crate) terms: LeaseTerms,
    /// Its place among the holders.
    pub(crate) place: Option<HolderPlace>,
    pub(crate) uid: Uid,
    /// On whose account the duplicate is closed.
    pub(crate) payer: Payer,
    pub(crate) pid: i32,
    /// The process that asked, where the kernel names it.
    pub(crate) process: Option<PeerFd>,
    /// The charge for the supervisor's duplicate.
    pub(crate) until_closed: Arc<dyn Send + Sync>,
}

/// What is held.
pub(super) struct Lease {
    pub(super) resource: String,
    pub(super) slot: Slot,
    pub(super) relay: &'static str,
    pub(super) uid: Uid,
    pub(super) pid: i32,
    pub(super) since: SystemTime,
    /// When it ends at the latest, by both clocks.
    pub(super) expires: Option<(Instant, SystemTime)>,
    pub(super) socket: PeerFd,
    pub(super) process: Option<OwnedFd>,
}

impl Lease {
    /// What the mirror is to have of it.
    pub(super) fn mirrored(&self, LeaseNumber(number): LeaseNumber) -> Leased {
        let process = self.process.as_ref().map(AsFd::as_fd);
        Leased {
            number,
            resource: self.resource.clone(),
            slot: self.slot,
            by_kernel: self.relay == KTLS,
            uid: self.uid,
            pid: self.pid,
            process: process.and_then(|process| ProcessIdentity::of(self.pid, process)),
            since: milliseconds(self.since.duration_since(UNIX_EPOCH).unwrap_or_default()),
            expires: self
                .expiry()
                .map(|end| end.saturating_duration_since(Instant::now()))
                .map(|left| milliseconds(clock() + left)),
        }
    }

    pub(super) fn expiry(&self) -> Option<Instant> {
        self.expires.map(|(expiry, _)| expiry)
    }
}

/// When a lease that the mirror had began, and when it ends, by both clocks.
pub(super) fn times(leased: &Leased) -> (SystemTime, Option<(Instant, SystemTime)>) {
    let since = UNIX_EPOCH + Duration::from_millis(leased.since);
    let left = leased.expires.map(|end| Duration::from_millis(end).saturating_sub(clock()));
    (since, left.map(|left| (Instant::now() + left, SystemTime::now() + left)))
}

/// The clock that all processes of this machine share while it runs.
fn clock() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.try_into().unwrap_or(0))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
