//! A deposit: a descriptor, a payload, or both, with the user that it belongs to.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use fdbroker_policy::Uid;
use fdbroker_wire::{Add, MAX_RECORD, Slot};

use super::Brought;
use super::quota::{DepositCharge, Quotas};
use crate::closer::Closer;

/// What lies in a slot.
pub(super) struct Deposit {
    pub(super) slot: Slot,
    /// Who deposited it.
    pub(super) owner: Uid,
    /// The number that its depositor gave; returned unchanged.
    pub(super) ufd: i32,
    pub(super) payload: Vec<u8>,
    pub(super) descriptor: Option<Brought>,
    /// Shared with the descriptor: given back when that has been closed.
    pub(super) charge: Arc<DepositCharge>,
}

/// The layout of a record: a mark, the owner's uid, and room for what comes.
const MARK: u32 = 0x6664_6201;

impl Deposit {
    /// A deposit by `owner`.
    pub(super) fn new(add: Add<Brought>, owner: Uid, charge: DepositCharge) -> Self {
        let Add { slot, ufd, payload, mut descriptor } = add;
        let charge = Arc::new(charge);
        if let Some(descriptor) = &mut descriptor {
            descriptor.keep_until_closed(Arc::clone(&charge));
        }
        Self { slot, owner, ufd, payload, descriptor, charge }
    }

    /// A deposit as the supervisor gave it back: the payload starts with the record.
    pub(super) fn restored(
        add: Add<OwnedFd>,
        quotas: &Quotas,
        closer: &Closer<Uid>,
    ) -> Result<Self, String> {
        let Add { slot, ufd, mut payload, descriptor } = add;
        let owner = read_record(&payload)
            .ok_or_else(|| format!("the deposit in slot {slot} has no record"))?;
        payload.drain(..MAX_RECORD);
        let charge = quotas.restored_deposit(owner, payload.len(), descriptor.is_some());
        let descriptor = descriptor.map(|descriptor| closer.hold(owner, descriptor));
        Ok(Self::new(Add { slot, ufd, payload, descriptor }, owner, charge))
    }
}

/// What stands before each payload at the supervisor.
pub(super) fn record(owner: Uid) -> [u8; MAX_RECORD] {
    let mut record = [0; MAX_RECORD];
    record[..4].copy_from_slice(&MARK.to_ne_bytes());
    record[4..8].copy_from_slice(&owner.0.to_ne_bytes());
    record
}

fn read_record(payload: &[u8]) -> Option<Uid> {
    let (record, _) = payload.split_first_chunk::<MAX_RECORD>()?;
    let (mark, rest) = record.split_first_chunk::<4>()?;
    let (owner, _) = rest.split_first_chunk::<4>()?;
    (u32::from_ne_bytes(*mark) == MARK).then(|| Uid(u32::from_ne_bytes(*owner)))
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::Uid;

    use super::{read_record, record};

    #[test]
    fn a_record_gives_back_its_owner() {
        assert_eq!(read_record(&record(Uid(70000))), Some(Uid(70000)));
        assert_eq!(read_record(b"sixteen bytes of junk"), None);
        assert_eq!(read_record(b"short"), None);
    }
}
