//! The 16 bytes that stand before each payload at the supervisor: a mark, the depositor's uid, and the
//! deposit's number. The worker writes them; the supervisor reads them, and nothing else of a payload: it
//! closes descriptors on their depositor's account, and tells the worker which have been closed.

use fdbroker_policy::Uid;
use fdbroker_wire::{DepositNumber, MAX_RECORD};

const MARK: u32 = 0x6664_6201;

/// What the supervisor knows of a deposit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DepositRecord {
    pub(crate) owner: Uid,
    pub(crate) number: DepositNumber,
}

impl DepositRecord {
    pub(crate) fn to_bytes(self) -> [u8; MAX_RECORD] {
        let mut bytes = [0; MAX_RECORD];
        bytes[..4].copy_from_slice(&MARK.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.owner.0.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.number.0.to_ne_bytes());
        bytes
    }

    /// Returns the record before a payload, or `None` if there is none.
    pub(crate) fn before(payload: &[u8]) -> Option<Self> {
        let (record, _) = payload.split_first_chunk::<MAX_RECORD>()?;
        let (mark, rest) = record.split_first_chunk::<4>()?;
        let (owner, rest) = rest.split_first_chunk::<4>()?;
        let number = DepositNumber(u64::from_ne_bytes(rest.try_into().ok()?));
        let owner = Uid(u32::from_ne_bytes(*owner));
        (u32::from_ne_bytes(*mark) == MARK).then_some(Self { owner, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = DepositRecord { owner: Uid(70000), number: DepositNumber(1 << 40) };
        assert_eq!(DepositRecord::before(&record.to_bytes()), Some(record));
        assert_eq!(DepositRecord::before(b"sixteen bytes of junk"), None);
        assert_eq!(DepositRecord::before(b"short"), None);
    }
}
