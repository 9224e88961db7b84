//! What a request removed from its slots, until it has been closed here and at the supervisor.
//!
//! The answer waits for that: once a peer knows that its deposit has gone, an address is free
//! again, and a device can be opened. The wait is short, since a close can take as long as the
//! maker of the descriptor likes. While many such closes of one user go on, nobody waits for its others.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::deposit::Deposit;
use crate::fd::{PeerFd, kind};
use crate::worker::limits::quota::DepositCharge;

/// How long an answer waits at most.
const LONGEST: Duration = Duration::from_secs(1);

/// The descriptors that one request removed.
#[derive(Default)]
pub(crate) struct PendingCloses(RefCell<Vec<Closing>>);

/// One of them.
struct Closing {
    charge: Weak<DepositCharge>,
    /// Its sender never sends: it is dropped with the charge.
    given_back: oneshot::Receiver<()>,
}

impl PendingCloses {
    /// Adds a deposit that another one replaces, if others can want what its descriptor has: a socket's
    /// address, a device. A wait would cost three times as much as such an ADD itself.
    pub(crate) fn replaced(&self, deposit: &Deposit) {
        let descriptor = deposit.descriptor.as_ref().and_then(PeerFd::descriptor);
        if descriptor.is_some_and(kind::is_socket_or_device) {
            self.deleted(deposit);
        }
    }

    /// Adds a deposit that is deleted.
    pub(crate) fn deleted(&self, deposit: &Deposit) {
        let Some(descriptor) = &deposit.descriptor else { return };
        descriptor.close_soon();
        let (charge, given_back) = (Arc::downgrade(&deposit.charge), deposit.charge.given_back());
        let closing = given_back.map(|given_back| Closing { charge, given_back });
        self.0.borrow_mut().extend(closing);
    }

    /// Waits until all of them have been closed, or for a second.
    pub(crate) async fn closed(&self) {
        let closings = self.0.take();
        let end = Instant::now() + LONGEST;
        for Closing { charge, given_back } in closings {
            if timeout_at(end, given_back).await.is_err() {
                charge.upgrade().iter().for_each(|charge| charge.set_late());
            }
        }
    }
}
