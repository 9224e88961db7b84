//! Leases that an earlier supervisor had, and that this one goes on with.

use std::io;
use std::sync::Arc;

use fdbroker_types::quoted;
use fdbroker_wire::connection::{DIRECT, KTLS};

use super::Leases;
use super::end::{Ending, Why};
use super::holders::HolderPlace;
use super::lease::{self, Lease, LeaseNumber};
use crate::payer::{Payer, Payers};
use crate::supervisor::deposits::mirror::Mirror;
use crate::supervisor::deposits::mirror::leased::{Leased, ReturnedLease};
use crate::supervisor::deposits::unclosed::Unclosed;

/// On whose account they are, and how they are counted.
pub(crate) struct Accounts<'a> {
    pub(crate) payers: &'a Payers,
    pub(crate) unclosed: &'a Unclosed,
    /// Finds a place among the holders of a resource.
    pub(crate) place: &'a dyn Fn(&str, LeaseNumber, Payer) -> Option<HolderPlace>,
}

impl Leases {
    /// Goes on with the leases that came back. From now on, `mirror` has all of them.
    pub(crate) fn resume(
        &self,
        mirror: Mirror,
        returned: Vec<ReturnedLease>,
        accounts: &Accounts<'_>,
    ) {
        self.0.mirror.replace(mirror);
        for lease in returned {
            let number = LeaseNumber(lease.leased.number);
            let leased = lease.leased.clone();
            if let Err(error) = self.go_on(number, lease, accounts) {
                self.0.told.bad(format!(
                    "lease {number} of resource {}: it cannot be watched any more: {error}; its \
                     connection stays, and nothing ends it; raise LimitNOFILE=",
                    quoted(&leased.resource)
                ));
                let Leased { ref resource, slot, uid, pid, .. } = leased;
                let ((since, _), why) = (lease::times(&leased), Why::Unwatched);
                let ending = Ending { number, resource, slot, uid, pid, since, why };
                // It is no lease any more, recorded or not.
                let _ = ending.record(&self.0.audit);
            }
        }
    }

    fn go_on(
        &self,
        number: LeaseNumber,
        returned: ReturnedLease,
        Accounts { payers, unclosed, place }: &Accounts<'_>,
    ) -> io::Result<()> {
        let leased = returned.leased.clone();
        let payer = payers.of(leased.uid);
        // It counts for its user with the next worker too.
        let charge = Arc::new(unclosed.opening(leased.uid, unclosed.worker()));
        let until_closed = (Arc::clone(&charge), place(&leased.resource, number, payer));
        let connection = returned.connection().ok_or(io::ErrorKind::NotConnected)?;
        let socket = self.duplicate(connection, payer, until_closed)?;
        let process = leased.process.map(|process| process.open());
        let has_ended = matches!(process, Some(None));
        let (since, expires) = lease::times(&leased);
        let lease = Lease {
            resource: leased.resource,
            slot: leased.slot,
            relay: if leased.by_kernel { KTLS } else { DIRECT },
            uid: leased.uid,
            pid: leased.pid,
            since,
            expires,
            socket,
            process: process.flatten(),
        };
        self.hold(number, lease)?;
        self.0.mirror.borrow().lease_again(returned, payer, charge);
        if has_ended {
            self.end(number, Why::ProcessEnded);
        }
        Ok(())
    }
}
