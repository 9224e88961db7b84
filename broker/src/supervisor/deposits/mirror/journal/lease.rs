//! A lease in a journal: what stands behind the head.

use fdbroker_wire::{Described, Lease, Relay, Slot};

use super::super::leased::Leased;
use super::fields::{Fields, Mark};
use crate::process_identity::ProcessIdentity;

/// What is known of it.
const HAS_PROCESS: u32 = 1;
const BY_KERNEL: u32 = 2;
const HAS_SESSION: u32 = 4;

/// Returns it as it is written to a memory with this mark.
pub(super) fn to_bytes(mark: Mark, Leased { lease, process }: &Leased) -> Vec<u8> {
    let Lease { number, ref resource, ref connection, uid, since, expires, .. } = *lease;
    let (process_number, start) = process.map_or((0, 0), |process| (process.number, process.start));
    let numbers = [number, process_number, start, since, expires.unwrap_or(0)];
    let known = [
        (process.is_some(), HAS_PROCESS),
        (connection.relay == Relay::Ktls, BY_KERNEL),
        (connection.session.is_some(), HAS_SESSION),
    ];
    let known = known.into_iter().filter(|(is_so, _)| *is_so).fold(0, |all, (_, flag)| all | flag);
    let length = u32::try_from(resource.len()).unwrap_or(u32::MAX);
    [
        &mark[..],
        &numbers.map(u64::to_ne_bytes).concat(),
        &[uid, known].map(u32::to_ne_bytes).concat(),
        &connection.session.unwrap_or(0).to_ne_bytes(),
        &length.to_ne_bytes(),
        resource.as_bytes(),
        connection.peer.as_bytes(),
    ]
    .concat()
}

/// Reads it in a memory with this mark, of the slot and the pid in its head; nothing of what was noted under another kernel. One of the version
/// `before` ends with the name of its resource.
pub(super) fn from_bytes(
    mark: Mark,
    (slot, pid): (Slot, i32),
    payload: &[u8],
    before: bool,
) -> Option<Leased> {
    let mut fields = Fields(payload);
    if fields.take() != mark {
        return None;
    }
    let [number, process, start, since, expires] =
        [(); 5].map(|()| u64::from_ne_bytes(fields.take()));
    let [uid, known] = [(); 2].map(|()| u32::from_ne_bytes(fields.take()));
    let (session, resource, peer) = if before { (0, fields.0, &[][..]) } else { fields.texts()? };
    let [resource, peer] = [resource, peer].map(|text| String::from_utf8(text.to_vec()).ok());
    let has = |flag| known & flag != 0;
    let relay = if has(BY_KERNEL) { Relay::Ktls } else { Relay::Direct };
    let session = has(HAS_SESSION).then_some(session);
    let process = ProcessIdentity { pid, number: process, start };
    Some(Leased {
        lease: Lease {
            number,
            resource: resource?,
            slot,
            connection: Described { relay, peer: peer?, session },
            uid,
            pid,
            since,
            expires: Some(expires).filter(|expires| *expires != 0),
        },
        process: has(HAS_PROCESS).then_some(process),
    })
}

impl<'a> Fields<'a> {
    /// The number of the session, the name of the resource, and the peer.
    fn texts(&mut self) -> Option<(u64, &'a [u8], &'a [u8])> {
        let session = u64::from_ne_bytes(self.take());
        let length = usize::try_from(u32::from_ne_bytes(self.take())).ok()?;
        let (resource, peer) = self.0.split_at_checked(length)?;
        Some((session, resource, peer))
    }
}
