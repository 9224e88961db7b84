//! Leases as they pass from one broker to the next, on the same terms.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use fdbroker_policy::Uid;
use fdbroker_wire::HeldLease;
use fdbroker_wire::connection::{DIRECT, KTLS, RELAYED};
use tokio::time::Instant;

use super::lease::{Lease, LeaseNumber};
use crate::fd::PeerFd;

/// A lease, and duplicates of what belongs to it.
pub(crate) struct PassedOn {
    pub(crate) held: HeldLease,
    pub(crate) socket: Rc<PeerFd>,
    pub(crate) process: Option<OwnedFd>,
}

impl Lease {
    pub(super) fn to_tell(&self, number: LeaseNumber) -> HeldLease {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let left = self.expiry().map(|end| end.saturating_duration_since(Instant::now()));
        HeldLease {
            number: number.0,
            slot: self.slot,
            uid: self.uid.0,
            pid: self.pid,
            held: milliseconds(self.since.elapsed().unwrap_or_default()),
            left: left.map(milliseconds),
            relay: self.relay.to_owned(),
            resource: self.resource.clone(),
        }
    }

    pub(super) fn told(held: HeldLease, socket: PeerFd, process: Option<OwnedFd>) -> Self {
        let HeldLease { slot, uid, pid, held: since, left, relay, resource, .. } = held;
        let now = SystemTime::now();
        let ends = |left| {
            let left = Duration::from_millis(left);
            Some((Instant::now().checked_add(left)?, now.checked_add(left)?))
        };
        let known = [KTLS, RELAYED].into_iter().find(|known| *known == relay);
        Self {
            resource,
            slot,
            relay: known.unwrap_or(DIRECT),
            uid: Uid(uid),
            pid,
            since: now.checked_sub(Duration::from_millis(since)).unwrap_or(now),
            expires: left.and_then(ends),
            socket,
            process,
        }
    }
}
