//! Sessions, as INSPECT shows them: the connections to the broker, in the order in which they were made.

use std::collections::BTreeMap;

use fdbroker_policy::Policy;
use fdbroker_wire::Tag;
use jiff::Timestamp;
use serde::Serialize;

use super::page::Page;
use crate::worker::ownership::registry::Standing;
use crate::worker::sessions::Connection;
use crate::worker::state::Worker;

/// One connection.
#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    uid: u32,
    pid: i32,
    unit: &'a str,
    since: String,
    /// In seconds.
    age: u64,
    /// Whether a request of it is being served, or waits.
    asks: bool,
    /// The tags that it owns.
    owns: Vec<String>,
    /// The tags that it waits for.
    waits: Vec<String>,
}

/// Those behind the one that had the number `after`.
pub(super) fn page(worker: &Worker, after: u64) -> Page {
    let rules = worker.policy.now();
    let standings = standings(worker, &rules.policy);
    let mut page = Page::default();
    for connection in worker.sessions.after(after) {
        if !page.push(&line(&connection, &standings)) {
            break;
        }
    }
    page
}

fn line<'a>(connection: &'a Connection, standings: &BTreeMap<u64, Stakes>) -> Line<'a> {
    let participant = &connection.participant;
    let stakes = standings.get(&participant.id);
    Line {
        // Those of sessions begin with 0.
        at: participant.id + 1,
        uid: participant.identity.uid.0,
        pid: participant.pid(),
        unit: participant.identity.unit(),
        since: connection.since.to_string(),
        age: Timestamp::now().duration_since(connection.since).as_secs().unsigned_abs(),
        asks: connection.is_at_work(),
        owns: stakes.map(|stakes| stakes.owns.clone()).unwrap_or_default(),
        waits: stakes.map(|stakes| stakes.waits.clone()).unwrap_or_default(),
    }
}

/// What of tags each session has.
#[derive(Default)]
struct Stakes {
    owns: Vec<String>,
    waits: Vec<String>,
}

fn standings(worker: &Worker, policy: &Policy) -> BTreeMap<u64, Stakes> {
    let name = |tag: Tag| {
        let declared = policy.tag(tag).map(|settings| settings.name.clone());
        declared.unwrap_or_else(|| tag.to_string())
    };
    let mut stakes: BTreeMap<u64, Stakes> = BTreeMap::new();
    for Standing { tag, owner, waiting } in worker.ownership.standings() {
        if let Some(owner) = owner {
            stakes.entry(owner).or_default().owns.push(name(tag));
        }
        for session in waiting {
            stakes.entry(session).or_default().waits.push(name(tag));
        }
    }
    stakes
}
