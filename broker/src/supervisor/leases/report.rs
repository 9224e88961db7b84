//! Leases as the operator is told of them: a line each, with `key=value`.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use fdbroker_types::quoted;
use fdbroker_wire::version2::MAX_REPORT;

use super::lease::{Lease, LeaseNumber};

/// Returns those with greater numbers than this one, by number, as many as a report has room for.
pub(super) fn of(held: &BTreeMap<LeaseNumber, Lease>, after: LeaseNumber) -> String {
    let mut text = String::new();
    for (number, lease) in held.range((Bound::Excluded(after), Bound::Unbounded)) {
        let line = line(*number, lease);
        if text.len() + line.len() > MAX_REPORT {
            break;
        }
        text.push_str(&line);
    }
    text
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
