//! Slots that hold something, as INSPECT shows them, in their order: deposits and resources.

use std::os::fd::BorrowedFd;
use std::rc::Rc;

use fdbroker_policy::Kind;
use fdbroker_wire::version2::Route;
use fdbroker_wire::{Index, Slot, Tag};
use jiff::Timestamp;
use serde::Serialize;

use super::address;
use super::page::Page;
use crate::fd::{PeerFd, kind};
use crate::worker::limits::loop_time::Turn;
use crate::worker::policy::active::Rules;
use crate::worker::request::discover::{route, some_slots};
use crate::worker::request::here_only;
use crate::worker::request::orphans::is_unreachable;
use crate::worker::request::place::Place;
use crate::worker::state::Worker;
use crate::worker::store::deposit::Deposit;

/// One slot, and its deposit if it has one.
#[derive(Serialize)]
struct Line {
    at: u64,
    slot: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    resource: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<&'static str>,
    #[serde(flatten)]
    deposit: Option<DepositLine>,
}

#[derive(Serialize)]
struct DepositLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    bytes: usize,
    unreachable: bool,
    here_only: bool,
}

/// Those behind the one that had the number `after`.
pub(super) async fn page(worker: &Worker, turn: &Turn, after: u64) -> Page {
    let rules = worker.policy.now();
    let slots = some_slots(worker, &rules, (None, slot(after)));
    let here_only = here_only::among(worker, &slots).await;
    let mut page = Page::default();
    for slot in slots {
        turn.take().await;
        let deposit = worker.slots.borrow().get(slot).cloned();
        let deposit = deposit.map(|deposit| (deposit, here_only.contains(&slot)));
        if !page.push(&line(&rules, slot, deposit.as_ref())) {
            break;
        }
    }
    page
}

fn line(rules: &Rules, slot: Slot, deposit: Option<&(Rc<Deposit>, bool)>) -> Line {
    let place = Place::slot(&rules.policy, slot);
    let resource = place.resource.and_then(|(_, resource)| resource.source.descriptor_kind());
    let kind = deposit.map(|(deposit, _)| kind::of(descriptor(deposit)));
    Line {
        at: number(slot),
        slot: slot.to_string(),
        name: place.name().to_string(),
        kind: resource.or(kind).map(Kind::name),
        resource: place.resource.is_some(),
        relay: place.resource.and_then(|(_, resource)| route(&resource.source)).map(Route::name),
        deposit: deposit.map(|(deposit, here_only)| of_deposit(rules, deposit, *here_only)),
    }
}

fn of_deposit(rules: &Rules, deposit: &Deposit, here_only: bool) -> DepositLine {
    let descriptor = descriptor(deposit);
    let origin = &deposit.origin;
    DepositLine {
        address: address::of(descriptor, kind::of(descriptor)),
        uid: deposit.owner().0,
        pid: Some(origin.pid).filter(|pid| *pid != 0),
        unit: origin.unit.clone(),
        since: time(origin.since),
        age: age(origin.since),
        bytes: deposit.payload.len(),
        unreachable: is_unreachable(rules, deposit.slot),
        here_only,
    }
}

fn descriptor(deposit: &Deposit) -> Option<BorrowedFd<'_>> {
    deposit.descriptor.as_ref().and_then(PeerFd::descriptor)
}

fn time(since: u64) -> Option<String> {
    let since = i64::try_from(since).ok().filter(|since| *since > 0)?;
    Timestamp::from_second(since).ok().map(|since| since.to_string())
}

fn age(since: u64) -> Option<u64> {
    let now = Timestamp::now().as_second().unsigned_abs();
    Some(now.saturating_sub(since)).filter(|_| since > 0)
}

/// The number of a slot here, above 0 and in the order of the slots.
fn number(slot: Slot) -> u64 {
    let [tag, index] = [i64::from(slot.tag.get()), i64::from(slot.index.get())];
    ((tag << 32) | index).unsigned_abs() + 1
}

/// The slot with this number, or none for 0. Of what is no number of a slot, the one before it.
fn slot(number: u64) -> Option<Slot> {
    let number = number.checked_sub(1)?;
    let tag = i16::try_from(number >> 32).ok().and_then(Tag::new);
    let index = i32::try_from(number & u64::from(u32::MAX)).ok().and_then(Index::new);
    Some(Slot { tag: tag.unwrap_or(Tag::MAX), index: index.unwrap_or(Index::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_a_number_of_its_own_in_the_order_of_the_slots() {
        let slots = [(0, 0), (0, i32::MAX), (1, 0), (7, 9), (i16::MAX, i32::MAX)];
        let slots = slots.map(|(tag, index)| Slot::new(tag, index).unwrap());
        let numbers = slots.map(number);
        assert!(numbers.is_sorted() && numbers[0] > 0);
        assert_eq!(numbers.map(|number| slot(number).unwrap()), slots);
        assert_eq!(slot(0), None);
        assert_eq!(slot(u64::MAX), slots.last().copied());
    }
}
