//! A deposit: a descriptor, a payload, or both, with the user that it belongs to.

use std::sync::Arc;

use fdbroker_policy::Uid;
use fdbroker_wire::{Add, Payload, Slot};

use crate::deposit_record::{self, DepositRecord, Origin};
use crate::fd::PeerFd;
use crate::payer::{Payer, Payers};
use crate::worker::limits::quota::{DepositCharge, Quotas};

/// The deposit of a slot.
pub(crate) struct Deposit {
    pub(crate) slot: Slot,
    /// Who deposited it, and which it is.
    pub(crate) record: DepositRecord,
    pub(crate) origin: Origin,
    /// The number that its depositor gave; returned unchanged.
    pub(crate) ufd: i32,
    pub(crate) payload: Payload,
    pub(crate) descriptor: Option<PeerFd>,
    /// Shared with the descriptor: given back when that has been closed.
    pub(crate) charge: Arc<DepositCharge>,
}

impl Deposit {
    /// A deposit of `payer`'s, or of a user for whom that pays.
    pub(crate) fn new(
        add: Add<PeerFd>,
        (record, origin): (DepositRecord, Origin),
        payer: Payer,
        charge: DepositCharge,
    ) -> Self {
        let Add { slot, ufd, payload, mut descriptor } = add;
        let charge = Arc::new(charge);
        if let Some(descriptor) = &mut descriptor {
            descriptor.move_to(payer);
            descriptor.keep_until_closed(Arc::clone(&charge));
        }
        Self { slot, record, origin, ufd, payload, descriptor, charge }
    }

    pub(crate) fn owner(&self) -> Uid {
        self.record.owner
    }

    /// A deposit as the supervisor gave it back: the payload starts with the record.
    pub(crate) fn restored(
        add: Add<PeerFd>,
        quotas: &Quotas,
        payers: &Payers,
    ) -> Result<Self, String> {
        let Add { slot, ufd, mut payload, descriptor } = add;
        let (record, origin, rest) = deposit_record::read(&payload)
            .ok_or_else(|| format!("the deposit in slot {slot} has no record"))?;
        let length = payload.len() - rest.len();
        payload.remove_first(length);
        let payer = payers.of(record.owner);
        let charge = quotas.restored_deposit(payer, payload.len(), descriptor.is_some());
        Ok(Self::new(Add { slot, ufd, payload, descriptor }, (record, origin), payer, charge))
    }
}
