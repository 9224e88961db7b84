//! What follows when an answer has been sent, or could not be: what it takes leaves its slots, or stays.

use std::pin::pin;
use std::rc::Rc;

use fdbroker_policy::Right;

use super::admission::check_ownership_in_turn;
use super::batch::Takes;
use super::context::RequestContext;
use super::decision::Requester;
use super::place::Place;
use super::slots::delete;
use super::takers;
use crate::log::{Kind, Verdict};
use crate::worker::disconnected::Disconnected;
use crate::worker::limits::loop_time::Turn;
use crate::worker::ownership::participant::Participant;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;
use crate::worker::store::pending_take::Reservation;
use crate::worker::supervisor_link::at_hand;

/// Deletes what has been given away.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn commit(takes: Takes, worker: &Worker, turn: &Turn) -> Result<(), Disconnected> {
    let Takes { reservations, requester, participant, rules, .. } = takes;
    for taken in reservations {
        turn.take().await;
        let slot = Some(taken.deposit.slot);
        at_hand::during(slot, pin!(delete_taken(worker, &rules, &requester, &participant, &taken)))
            .await?;
    }
    Ok(())
}

/// Leaves everything where it is, for everybody.
pub(crate) async fn call_off(takes: Takes, worker: &Worker) {
    // Without a supervisor there is nothing to be undone.
    let _ = takers::call_off(worker, takes.tag, &takes.reservations).await;
}

/// Deletes a deposit that was taken. It stays if another deposit has replaced it, or if a process
/// is taking the tag over.
async fn delete_taken(
    worker: &Worker,
    rules: &Rules,
    requester: &Requester,
    participant: &Participant,
    taken: &Reservation,
) -> Result<(), Disconnected> {
    let (deposit, slot) = (&taken.deposit, taken.deposit.slot);
    let guard = worker.link.lock().await;
    let same = worker.slots.borrow().get(slot).is_some_and(|found| Rc::ptr_eq(found, deposit));
    if !same {
        return Ok(());
    }
    // A policy that has come since does not decide: it has been given already.
    let place = Place::slot(&rules.policy, slot);
    let context = RequestContext::new(worker, rules, requester, Right::Del, place);
    // It stays for the process that takes the tag over.
    if check_ownership_in_turn(&context, participant).is_err() {
        drop(guard);
        return takers::call_off(worker, slot.tag, std::slice::from_ref(taken)).await;
    }
    // The deposit has been sent already. So it is deleted even if this record cannot be written.
    let _ = context.record(Kind::Decision, Verdict::Granted, "taken");
    delete(worker, &guard, deposit).await
}
