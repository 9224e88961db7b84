//! Leases as they pass from one broker to the next, on the same terms.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_policy::Uid;
use fdbroker_wire::Lease;

use super::Leases;
use super::lease::HeldLease;
use crate::fd::{Depositor, PeerFd};
use crate::payer::Payer;
use crate::process_number;

/// A lease, and duplicates of what belongs to it.
pub(crate) struct PassedOn {
    pub(crate) lease: Lease,
    pub(crate) socket: Rc<PeerFd>,
    pub(crate) process: Option<OwnedFd>,
}

impl Leases {
    /// Returns all of them, for a successor.
    ///
    /// # Errors
    /// As dup(2).
    pub(crate) fn to_pass_on(&self, payer: impl Fn(Uid) -> Payer) -> io::Result<Vec<PassedOn>> {
        let held = self.0.held.borrow();
        let pass_on = |HeldLease { lease, socket, process }: &HeldLease| {
            let socket = socket.descriptor().ok_or(io::ErrorKind::NotConnected)?;
            let (depositor, socket) =
                (Depositor::Opened(payer(Uid(lease.uid))), socket.try_clone_to_owned()?);
            let socket = self.0.close_queue.hold(depositor, socket);
            let process = process.as_ref().map(OwnedFd::try_clone).transpose()?;
            Ok(PassedOn { lease: lease.clone(), socket: Rc::new(socket), process })
        };
        held.values().map(pass_on).collect()
    }

    /// Goes on with a lease of a predecessor's. What belongs to it stays until its socket is closed.
    ///
    /// # Errors
    /// If it cannot be watched.
    pub(crate) fn take_over(
        &self,
        lease: Lease,
        mut socket: PeerFd,
        process: Option<PeerFd>,
        payer: Payer,
        belongs: impl Send + Sync + 'static,
    ) -> io::Result<()> {
        socket.move_to(Depositor::Opened(payer));
        socket.keep_until_closed(belongs);
        let process = process.and_then(process_number::pidfd);
        self.hold(HeldLease { lease, socket, process })
    }
}
