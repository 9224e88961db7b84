//! Leases that an earlier supervisor had, and that this one goes on with.

use std::io;
use std::sync::Arc;

use fdbroker_policy::Uid;
use fdbroker_types::quoted;

use super::Leases;
use super::end::{Ending, Why};
use super::holders::HolderPlace;
use super::lease::{HeldLease, LeaseNumber};
use crate::opening_cost::OF_A_LEASE;
use crate::payer::{Payer, Payers};
use crate::supervisor::deposits::mirror::Mirror;
use crate::supervisor::deposits::mirror::leased::{Leased, ReturnedLease};
use crate::supervisor::deposits::unclosed::Unclosed;

/// On whose account they are, and how they are counted.
pub(crate) struct Accounts<'a> {
    pub(crate) payers: &'a Payers,
    pub(crate) unclosed: &'a Unclosed,
    /// Finds a place among the holders of a resource.
    pub(crate) place: &'a dyn Fn(&str, LeaseNumber, Payer) -> HolderPlace,
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
        for returned in returned {
            let lease = returned.leased.lease.clone();
            if let Err(error) = self.go_on(returned, accounts) {
                self.0.told.bad(format!(
                    "lease {} of resource {}: it cannot be watched any more: {error}; its \
                     connection stays, and nothing ends it; raise LimitNOFILE=",
                    lease.number,
                    quoted(&lease.resource)
                ));
                // It is no lease any more, recorded or not.
                let _ = Ending { lease: &lease, why: Why::Unwatched }.record(&self.0.audit);
            }
        }
    }

    fn go_on(
        &self,
        returned: ReturnedLease,
        Accounts { payers, unclosed, place }: &Accounts<'_>,
    ) -> io::Result<()> {
        let Leased { lease, process } = returned.leased.clone();
        let (number, uid) = (LeaseNumber(lease.number), Uid(lease.uid));
        let payer = payers.of(uid);
        // It counts for its user with the next worker too.
        let charge = Arc::new(unclosed.opening(uid, unclosed.worker(), OF_A_LEASE));
        let until_closed = (Arc::clone(&charge), place(&lease.resource, number, payer));
        let connection = returned.connection().ok_or(io::ErrorKind::NotConnected)?;
        let socket = self.duplicate(connection, payer, until_closed)?;
        let process = process.map(|process| process.open());
        let has_ended = matches!(process, Some(None));
        self.hold(HeldLease { lease, socket, process: process.flatten() })?;
        self.0.mirror.borrow().lease_again(returned, payer, charge);
        if has_ended {
            self.end(number, Why::ProcessEnded);
        }
        Ok(())
    }
}
