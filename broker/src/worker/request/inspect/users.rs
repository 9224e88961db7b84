//! Users, as INSPECT shows them: how much each has of what it may have.

use serde::Serialize;

use super::page::Page;
use crate::worker::limits::quota::Holding;
use crate::worker::state::Worker;

/// One user, or those who have one account with it.
#[derive(Serialize)]
struct Line {
    at: u64,
    uid: u32,
    connections: u32,
    max_connections: u32,
    deposits: u32,
    max_deposits: u32,
    bytes: u64,
    max_bytes: u64,
    descriptors: u32,
    max_descriptors: u32,
    /// How many resources are being opened for it.
    opening: u32,
}

/// Those behind the one that had the number `after`.
pub(super) fn page(worker: &Worker, after: u64) -> Page {
    let mut page = Page::default();
    let most = worker.quotas.most();
    for (payer, has) in worker.quotas.holdings() {
        let uid = payer.uid().0;
        let at = u64::from(uid) + 1;
        if at > after && !page.push(&line((at, uid), has, most)) {
            break;
        }
    }
    page
}

const fn line((at, uid): (u64, u32), has: Holding, most: Holding) -> Line {
    Line {
        at,
        uid,
        connections: has.connections,
        max_connections: most.connections,
        deposits: has.deposits,
        max_deposits: most.deposits,
        bytes: has.bytes,
        max_bytes: most.bytes,
        descriptors: has.descriptors,
        max_descriptors: most.descriptors,
        opening: has.opening,
    }
}
