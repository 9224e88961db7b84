//! Who a resource is opened for.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use fdbroker_policy::{Resource, Uid};
use fdbroker_wire::Opened;

use super::withdrawals::Withdrawable;
use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::opening_cost::OpeningCost;
use crate::payer::Payer;
use crate::supervisor::deposits::unclosed::{OpeningNotice, Unclosed};
use crate::supervisor::leases::holders::HolderPlace;
use crate::supervisor::workers::charges::Charge;

/// Who asks for a resource.
pub(crate) struct Caller {
    /// What the answer carries.
    pub(crate) ticket: u32,
    pub(crate) uid: Uid,
    /// On whose account the supervisor's copy is closed.
    pub(crate) payer: Payer,
    /// The process that asked.
    pub(crate) pid: i32,
    pub(crate) process: Option<PeerFd>,
    /// Its question, which it can withdraw.
    pub(crate) question: Withdrawable,
    /// Its place among those who hold the resource, where these are counted.
    pub(crate) place: Option<HolderPlace>,
    /// What it has been charged with, until that is what it gets.
    pub(crate) charge: Option<Charge>,
    /// By which worker it asks, and where that is told when the copy has been closed.
    pub(crate) worker: u32,
    pub(crate) unclosed: Unclosed,
}

impl Caller {
    /// Returns what stands for what is `opened`, if anything is: it counts for the caller until that has been closed.
    pub(super) fn notice(&self, opened: Option<&Resource>) -> Arc<Option<OpeningNotice>> {
        let entries = opened.map(|resource| OpeningCost::of(resource).kept);
        Arc::new(entries.and_then(|entries| self.unclosed.opening(self.uid, self.worker, entries)))
    }

    /// Has the supervisor's copy closed on the caller's account: what is sent to a caller can make its
    /// close sleep.
    pub(super) fn held(
        &self,
        opened: Opened<OwnedFd>,
        notice: &Arc<Option<OpeningNotice>>,
        close_queue: &CloseQueue,
    ) -> Opened<PeerFd> {
        opened.map(|descriptor| {
            let mut descriptor = close_queue.hold(Depositor::Opened(self.payer), descriptor);
            descriptor.keep_until_closed(Arc::clone(notice));
            descriptor
        })
    }
}
