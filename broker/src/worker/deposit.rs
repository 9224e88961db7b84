//! A deposit: a descriptor, a payload, or both, with the user that it belongs to.

use std::os::fd::OwnedFd;

use fdbroker_policy::Uid;
use fdbroker_wire::{Add, MAX_RECORD, Slot};

use super::quota::{DepositCharge, Quotas};

/// What lies in a slot.
pub(super) struct Deposit {
    pub(super) slot: Slot,
    /// Who deposited it.
    pub(super) owner: Uid,
    /// The number that its depositor gave; returned unchanged.
    pub(super) ufd: i32,
    pub(super) payload: Vec<u8>,
    pub(super) descriptor: Option<OwnedFd>,
    pub(super) charge: DepositCharge,
}

/// The layout of a record: a mark, the owner's uid, and room for what comes.
const MARK: u32 = 0x6664_6201;

impl Deposit {
    /// A deposit by `owner`.
    pub(super) fn new(add: Add<OwnedFd>, owner: Uid, charge: DepositCharge) -> Self {
        let Add { slot, ufd, payload, descriptor } = add;
        Self { slot, owner, ufd, payload, descriptor, charge }
    }

    /// A deposit as the supervisor gave it back: the payload starts with the record.
    pub(super) fn restored(mut add: Add<OwnedFd>, quotas: &Quotas) -> Result<Self, String> {
        let owner = read_record(&add.payload)
            .ok_or_else(|| format!("the deposit in slot {} has no record", add.slot))?;
        add.payload.drain(..MAX_RECORD);
        let charge = quotas.restored_deposit(owner, add.payload.len());
        Ok(Self::new(add, owner, charge))
    }

    pub(super) fn into_parts(self) -> (Uid, Option<OwnedFd>, DepositCharge) {
        (self.owner, self.descriptor, self.charge)
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
