//! What stands before each payload at the supervisor: the depositor's uid, the deposit's number, and where it
//! comes from. The worker writes it. The supervisor reads uid and number, and nothing else of a payload: it
//! closes descriptors on their depositor's account, and tells the worker which have been closed.

use fdbroker_policy::Uid;
use fdbroker_wire::{DepositNumber, MAX_RECORD};

const MARK: u32 = 0x6664_6202;
/// Of a record without origin, which versions before 0.1.0 wrote.
const MARK_WITHOUT_ORIGIN: u32 = 0x6664_6201;
/// The longest name of a unit, see systemd.unit(5).
const LONGEST_UNIT: usize = 255;

/// What the supervisor knows of a deposit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DepositRecord {
    pub(crate) owner: Uid,
    pub(crate) number: DepositNumber,
}

/// Where a deposit comes from, for operators.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Origin {
    /// When it was deposited, in seconds since 1970; 0 if that is not known.
    pub(crate) since: u64,
    /// The process that deposited it; 0 if that is not known.
    pub(crate) pid: i32,
    /// Its unit, if it had one.
    pub(crate) unit: Option<Box<str>>,
}

impl DepositRecord {
    /// The bytes before a payload, at most [`MAX_RECORD`]. A unit whose name is too long for one is left out.
    pub(crate) fn to_bytes(self, origin: &Origin) -> Vec<u8> {
        let unit = origin.unit.as_deref().filter(|unit| unit.len() <= LONGEST_UNIT);
        let unit = unit.unwrap_or_default().as_bytes();
        let mut bytes = Vec::with_capacity(MAX_RECORD);
        bytes.extend(MARK.to_ne_bytes());
        bytes.extend(self.owner.0.to_ne_bytes());
        bytes.extend(self.number.0.to_ne_bytes());
        bytes.extend(origin.since.to_ne_bytes());
        bytes.extend(origin.pid.to_ne_bytes());
        bytes.extend(u16::try_from(unit.len()).unwrap_or(0).to_ne_bytes());
        bytes.extend(unit);
        bytes
    }

    /// Returns the record before a payload, or `None` if there is none.
    pub(crate) fn before(payload: &[u8]) -> Option<Self> {
        read(payload).map(|(record, ..)| record)
    }
}

/// Returns the record before a payload, where the deposit comes from, and the payload itself; `None` if there is no
/// record.
pub(crate) fn read(payload: &[u8]) -> Option<(DepositRecord, Origin, &[u8])> {
    let (mark, rest) = payload.split_first_chunk()?;
    let (owner, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let owner = Uid(u32::from_ne_bytes(*owner));
    let record = DepositRecord { owner, number: DepositNumber(u64::from_ne_bytes(*number)) };
    let (origin, rest) = match u32::from_ne_bytes(*mark) {
        MARK => origin(rest)?,
        MARK_WITHOUT_ORIGIN => (Origin::default(), rest),
        _ => return None,
    };
    Some((record, origin, rest))
}

fn origin(bytes: &[u8]) -> Option<(Origin, &[u8])> {
    let (since, rest) = bytes.split_first_chunk()?;
    let (pid, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (unit, rest) = rest.split_at_checked(u16::from_ne_bytes(*length).into())?;
    let unit = std::str::from_utf8(unit).ok().filter(|unit| !unit.is_empty());
    let (since, pid) = (u64::from_ne_bytes(*since), i32::from_ne_bytes(*pid));
    Some((Origin { since, pid, unit: unit.map(Box::from) }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: DepositRecord =
        DepositRecord { owner: Uid(70000), number: DepositNumber(1 << 40) };

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let unit = |length| Some("u".repeat(length).into_boxed_str());
        for unit in [None, unit(1), unit(LONGEST_UNIT)] {
            let origin = Origin { since: 1 << 33, pid: 7, unit };
            let bytes = RECORD.to_bytes(&origin);
            assert!(bytes.len() <= MAX_RECORD);
            let whole = [&bytes[..], b"payload"].concat();
            assert_eq!(read(&whole), Some((RECORD, origin, &b"payload"[..])));
            assert_eq!(DepositRecord::before(&whole), Some(RECORD));
            assert_eq!(read(&bytes[..bytes.len() - 1]), None, "it is cut off");
        }
        let too_long = Origin { unit: unit(LONGEST_UNIT + 1), ..Origin::default() };
        let bytes = RECORD.to_bytes(&too_long);
        assert_eq!(read(&bytes), Some((RECORD, Origin::default(), &b""[..])));
        assert_eq!(DepositRecord::before(b"sixteen bytes of junk"), None);
        assert_eq!(DepositRecord::before(b"short"), None);
    }

    #[test]
    fn a_record_of_an_older_broker_has_no_origin() {
        let [mark, uid] = [MARK_WITHOUT_ORIGIN.to_ne_bytes(), 70000_u32.to_ne_bytes()];
        let whole = [&mark[..], &uid, &(1_u64 << 40).to_ne_bytes(), b"payload"].concat();
        assert_eq!(read(&whole), Some((RECORD, Origin::default(), &b"payload"[..])));
    }
}
