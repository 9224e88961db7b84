//! The 16 bytes that stand before each payload at the supervisor: a mark, the depositor's uid, and
//! room for what comes. The worker writes them; the supervisor reads the uid, to close descriptors
//! on their depositor's account, and nothing else of a payload.

use fdbroker_policy::Uid;
use fdbroker_wire::MAX_RECORD;

const MARK: u32 = 0x6664_6201;

/// Returns the record of a deposit by `owner`.
pub(crate) fn write(owner: Uid) -> [u8; MAX_RECORD] {
    let mut record = [0; MAX_RECORD];
    record[..4].copy_from_slice(&MARK.to_ne_bytes());
    record[4..8].copy_from_slice(&owner.0.to_ne_bytes());
    record
}

/// Returns the depositor that the record before a payload names, or `None` if there is no record.
pub(crate) fn owner(payload: &[u8]) -> Option<Uid> {
    let (record, _) = payload.split_first_chunk::<MAX_RECORD>()?;
    let (mark, rest) = record.split_first_chunk::<4>()?;
    let (owner, _) = rest.split_first_chunk::<4>()?;
    (u32::from_ne_bytes(*mark) == MARK).then(|| Uid(u32::from_ne_bytes(*owner)))
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::Uid;

    use super::{owner, write};

    #[test]
    fn a_record_gives_back_its_owner() {
        assert_eq!(owner(&write(Uid(70000))), Some(Uid(70000)));
        assert_eq!(owner(b"sixteen bytes of junk"), None);
        assert_eq!(owner(b"short"), None);
    }
}
