//! A deposit: a descriptor, a payload, or both, with the user that it belongs to.

use std::sync::Arc;

use fdbroker_policy::Uid;
use fdbroker_wire::{Add, MAX_RECORD, Payload, Slot};

use crate::deposit_record;
use crate::fd::PeerFd;
use crate::worker::limits::quota::{DepositCharge, Quotas};

/// The deposit of a slot.
pub(crate) struct Deposit {
    pub(crate) slot: Slot,
    /// Who deposited it.
    pub(crate) owner: Uid,
    /// The number that its depositor gave; returned unchanged.
    pub(crate) ufd: i32,
    pub(crate) payload: Payload,
    pub(crate) descriptor: Option<PeerFd>,
    /// Shared with the descriptor: given back when that has been closed.
    pub(crate) charge: Arc<DepositCharge>,
}

impl Deposit {
    /// A deposit by `owner`.
    pub(crate) fn new(add: Add<PeerFd>, owner: Uid, charge: DepositCharge) -> Self {
        let Add { slot, ufd, payload, mut descriptor } = add;
        let charge = Arc::new(charge);
        if let Some(descriptor) = &mut descriptor {
            descriptor.move_to(owner);
            descriptor.keep_until_closed(Arc::clone(&charge));
        }
        Self { slot, owner, ufd, payload, descriptor, charge }
    }

    /// A peer of this user is given it.
    pub(crate) fn hand_to(&self, uid: Uid) {
        if uid != self.owner {
            self.descriptor.iter().for_each(PeerFd::share);
        }
    }

    /// Whether others than its owner were given its descriptor, or may have been.
    pub(crate) fn is_shared(&self) -> bool {
        self.descriptor.as_ref().is_some_and(PeerFd::is_shared)
    }

    /// A deposit as the supervisor gave it back: the payload starts with the record. To whom an earlier
    /// worker gave it is not known.
    pub(crate) fn restored(add: Add<PeerFd>, quotas: &Quotas) -> Result<Self, String> {
        let Add { slot, ufd, mut payload, mut descriptor } = add;
        let owner = deposit_record::owner(&payload)
            .ok_or_else(|| format!("the deposit in slot {slot} has no record"))?;
        payload.remove_first(MAX_RECORD);
        let charge = quotas.restored_deposit(owner, payload.len(), descriptor.is_some());
        descriptor.iter_mut().for_each(|descriptor| {
            descriptor.move_to(owner);
            descriptor.share();
        });
        Ok(Self::new(Add { slot, ufd, payload, descriptor }, owner, charge))
    }
}
