//! Leases as the operator is told of them: a line each, with `key=value`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use fdbroker_types::quoted;

use super::lease::{Lease, LeaseNumber};

/// Returns all of them, by number.
pub(super) fn of(held: &BTreeMap<LeaseNumber, Lease>) -> String {
    held.iter().map(|(number, lease)| line(*number, lease)).collect()
}

fn line(number: LeaseNumber, lease: &Lease) -> String {
    let Lease { resource, slot, relay, uid, pid, since, expires, .. } = lease;
    let seconds = |time: Duration| time.as_secs();
    let held = seconds(since.elapsed().unwrap_or_default());
    let left = |end: SystemTime| seconds(end.duration_since(SystemTime::now()).unwrap_or_default());
    let ends = expires.map_or("never".to_owned(), |(_, end)| left(end).to_string());
    format!(
        "lease={number} slot={slot} name={name} uid={uid} pid={pid} held={held} ends_in={ends} relay={relay}\n",
        name = quoted(resource)
    )
}
