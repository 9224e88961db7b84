//! What can be asked of slots: decide, wait for a turn where the tag is serial, act, record.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_policy::{Accept, ResourceIndex, Right, Uid};
use fdbroker_wire::{Add, Errno, Index, Slot, Tag};
use tokio::time::timeout;

use super::answer::Answer;
use super::context::{Outcome, RequestContext};
use super::decision::Requester;
use super::error::Failure;
use super::place::Place;
use super::slot_request::SlotRequest;
use super::takers;
use crate::fd::{PeerFd, kind};
use crate::log::{Kind, Verdict};
use crate::worker::disconnected::Disconnected;
use crate::worker::limits::quota::{Exceeded, OpeningCharge};
use crate::worker::ownership::participant::Participant;
use crate::worker::ownership::tag::OwnershipRefusal;
use crate::worker::peer::session::Session;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;
use crate::worker::store::deposit::Deposit;
use crate::worker::store::pending_take::Reservation;
use crate::worker::supervisor_link::at_hand;
use crate::worker::supervisor_link::write::{LinkGuard, Unsent};

/// How long a policy that the supervisor has sent may take to be in force here.
const SWAP: Duration = Duration::from_secs(30);
/// How often, and with which pause, an opening waits for room in the descriptor table: a second.
const MOST_PAUSES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Serves a request.
///
/// # Errors
/// If the peer has left while it waited, or the supervisor has gone.
pub(crate) async fn serve(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
    request: SlotRequest,
) -> Result<Answer, Disconnected> {
    let slot = request.slot();
    at_hand::during(slot, pin!(carry_out(worker, session, requester, request))).await
}

async fn carry_out(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
    request: SlotRequest,
) -> Result<Answer, Disconnected> {
    // The tag whose turn has come by this request.
    let (mut taken, mut counted) = (None, false);
    loop {
        let rules = worker.policy.now();
        let place = request.place(&rules);
        let context = RequestContext::new(worker, &rules, requester, request.right(), place);
        if let Err(failure) = may(&context, &request) {
            // A session that may not do it any more keeps nobody waiting for it.
            if let Some(tag) = taken {
                session.give_up_turn(worker, tag).await;
            }
            return Ok(context.fail(failure));
        }
        if let Err(failure) = check_ownership(&context, &session.participant) {
            return Ok(context.fail(failure));
        }
        if !std::mem::replace(&mut counted, true) {
            context.count(1);
        }
        if let Some(tag) = context.place.tag.filter(|_| context.place.is_serial()) {
            let newly = session.take_turn(worker, tag).await?;
            taken = taken.or(newly.then_some(tag));
            if !worker.policy.are(&rules) {
                continue;
            }
        }
        let outcome = match request {
            SlotRequest::Get(slot) => match get(&context, &session.participant, slot).await {
                Ok(outcome) => outcome,
                // Decided once more, under the next policy.
                Err(PolicyReplaced) => match next(worker, &rules).await {
                    Ok(()) => continue,
                    Err(failure) => Outcome::Failed(failure),
                },
            },
            SlotRequest::Add(add) => keep(&context, session, add).await?,
            SlotRequest::Del(slot) => forget(&context, session, slot).await?,
            SlotRequest::Count(tag) => Outcome::Done(count(&context, tag)),
        };
        return Ok(context.finish(outcome));
    }
}

async fn next(worker: &Worker, rules: &Rc<Rules>) -> Result<(), Failure> {
    let late = |_| Failure::not_opened(Errno::AGAIN, "the policy is being replaced");
    timeout(SWAP, worker.policy.reached(rules.generation + 1)).await.map_err(late)
}

/// Whether the request may be done, as far as that can be told before it has its turn.
pub(crate) fn may(context: &RequestContext<'_>, request: &SlotRequest) -> Result<(), Failure> {
    if !context.decision.granted {
        return Err(Failure::refused(&context.decision));
    }
    match request {
        SlotRequest::Add(add) => acceptable(context, add),
        _ => Ok(()),
    }
}

/// Checks whether the tag accepts a deposit of this kind, from any depositor.
fn acceptable(context: &RequestContext<'_>, add: &Add<PeerFd>) -> Result<(), Failure> {
    let descriptor = add.descriptor.as_ref().and_then(PeerFd::descriptor);
    let kind = kind::of(descriptor);
    if context.worker.own_sockets.knows(descriptor, kind) {
        let reason = "the broker does not accept its own sockets";
        return Err(Failure::plain(Errno::OPNOTSUPP, reason));
    }
    let accept = context.place.settings.map_or(Accept::NOTHING, |settings| settings.accept);
    if accept.contains(kind) {
        return Ok(());
    }
    // A peer that may add to the tag may know what it accepts.
    let kinds: Vec<_> = accept.iter().map(|kind| kind.name()).collect();
    let reason = format!(
        "the tag does not accept a deposit of kind {}; it accepts {}",
        kind.name(),
        if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") }
    );
    Err(Failure::plain(Errno::OPNOTSUPP, &reason))
}

/// The supervisor has another policy than the one that a request was decided by.
struct PolicyReplaced;

/// Returns the deposit in a slot, or opens the resource.
async fn get(
    context: &RequestContext<'_>,
    participant: &Participant,
    slot: Slot,
) -> Result<Outcome, PolicyReplaced> {
    match context.place.resource {
        Some((index, resource)) => open(context, slot, index, resource.open_timeout).await,
        None => {
            let deposit = context.worker.slots.borrow().get(slot).cloned();
            let deposit = deposit.filter(|deposit| shows(context.worker, participant, deposit));
            Ok(deposit.map(Answer::Deposit).ok_or_else(Failure::absent).into())
        }
    }
}

/// Whether a deposit is there for others: not while it is being taken, unless the tag is being taken
/// over from its taker, or has been; then it stays. What another process may have been given by a worker
/// that died is kept for that one.
pub(crate) fn shows(worker: &Worker, participant: &Participant, deposit: &Rc<Deposit>) -> bool {
    if worker.taking.is_kept_from(deposit.slot, participant) {
        return false;
    }
    let taker = worker.taking.taker(deposit);
    taker.is_none_or(|taker| {
        worker.ownership.check_ownership(&taker, deposit.slot.tag, true, false).is_err()
    })
}

async fn open(
    context: &RequestContext<'_>,
    slot: Slot,
    resource: ResourceIndex,
    patience: Duration,
) -> Result<Outcome, PolicyReplaced> {
    let uid = context.requester.connection().uid;
    let charge = match room_to_open(context.worker, uid).await {
        Ok(charge) => charge,
        Err(failure) => {
            let _ = context.record(Kind::Open, Verdict::Failed, &failure.reason);
            return Ok(Outcome::Failed(failure));
        }
    };
    let generation = context.rules.generation;
    let opened = context.worker.link.open(generation, resource.0, patience, uid, charge).await;
    match opened {
        Ok(opened) => {
            // The record of the decision, which follows, is the one that counts.
            let _ = context.record(Kind::Open, Verdict::Granted, "opened");
            Ok(Outcome::Done(Answer::Resource(slot, Box::new(opened))))
        }
        Err((Errno::STALE, _)) => Err(PolicyReplaced),
        Err((errno, reason)) => {
            let _ = context.record(Kind::Open, Verdict::Failed, &reason);
            Ok(Outcome::Failed(Failure::not_opened(errno, &reason)))
        }
    }
}

/// Charges the opening of a resource, where its user has room for it: that is waited for, but not for
/// long, since what was sent before it may still have to be closed.
async fn room_to_open(worker: &Worker, uid: Uid) -> Result<OpeningCharge, Failure> {
    let mut charge = worker.quotas.opening(uid);
    for _ in 0..MOST_PAUSES {
        if !matches!(charge, Err(Exceeded::Opened | Exceeded::Table)) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        charge = worker.quotas.opening(uid);
    }
    charge.map_err(|exceeded| match exceeded {
        Exceeded::Opening => Failure::not_opened(Errno::BUSY, &exceeded.to_string()),
        _ => Failure::failed(Errno::DQUOT, &exceeded.to_string()),
    })
}

fn count(context: &RequestContext<'_>, tag: Tag) -> Answer {
    let largest = largest_resource(context.rules, tag);
    Answer::Info(context.worker.slots.borrow().info(tag, largest))
}

/// The largest index of `tag` that the policy itself fills.
fn largest_resource(rules: &Rules, tag: Tag) -> Option<Index> {
    rules.policy.resource_slots(Some(tag), None).last().map(|slot| slot.index)
}

/// Keeps a deposit, at the supervisor first.
async fn keep(
    context: &RequestContext<'_>,
    session: &Session,
    add: Add<PeerFd>,
) -> Result<Outcome, Disconnected> {
    let (worker, slot) = (context.worker, add.slot);
    let owner = context.requester.connection().uid;
    let guard = worker.link.lock().await;
    let before = worker.slots.borrow().get(slot).cloned();
    let may = check_ownership_in_turn(context, &session.participant)
        .and_then(|()| may_change(context, before.as_deref()));
    let charge = may.and_then(|()| {
        let replaced = before.as_deref().map(|before| &*before.charge);
        worker
            .quotas
            .deposit(owner, add.payload.len(), add.descriptor.is_some(), replaced)
            .map_err(|exceeded| Failure::plain(Errno::DQUOT, &exceeded.to_string()))
    });
    // From here on only want of room on the way to the supervisor, or its end, keeps it from being done.
    let charge = match charge.and_then(|charge| context.record_first("done").map(|()| charge)) {
        Ok(charge) => charge,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let deposit = Deposit::new(add, owner, charge);
    match guard.keep(&deposit).await {
        Ok(()) => {}
        Err(Unsent::Later) => return Ok(Outcome::Failed(crowded())),
        Err(Unsent::Ends) => return Err(Disconnected),
    }
    if let Some(before) = &before {
        worker.link.copies.leaves(before);
        session.leaving.replaced(before);
        worker.freed.count();
    }
    worker.taking.forget(slot);
    worker.slots.borrow_mut().put(deposit);
    Ok(Outcome::Recorded(Answer::Done))
}

fn crowded() -> Failure {
    let reason = "the supervisor takes no more descriptors at the moment; try again";
    Failure::failed(Errno::AGAIN, reason)
}

/// Forgets a deposit, at the supervisor first.
async fn forget(
    context: &RequestContext<'_>,
    session: &Session,
    slot: Slot,
) -> Result<Outcome, Disconnected> {
    let worker = context.worker;
    let guard = worker.link.lock().await;
    let before = worker.slots.borrow().get(slot).cloned();
    let may = check_ownership_in_turn(context, &session.participant)
        .and_then(|()| before.ok_or_else(Failure::absent));
    let may = may.and_then(|before| {
        may_change(context, Some(&before))?;
        context.record_first("done")?;
        Ok(before)
    });
    let before = match may {
        Ok(before) => before,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    session.leaving.deleted(&before);
    delete(worker, &guard, &before).await?;
    Ok(Outcome::Recorded(Answer::Done))
}

/// Deletes what is in a slot, at the supervisor first.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn delete(
    worker: &Worker,
    guard: &LinkGuard<'_>,
    deposit: &Deposit,
) -> Result<(), Disconnected> {
    guard.forget(deposit.slot).await?;
    worker.link.copies.leaves(deposit);
    worker.taking.forget(deposit.slot);
    worker.slots.borrow_mut().take(deposit.slot);
    worker.freed.count();
    Ok(())
}

/// Deletes a deposit that was taken. It stays if another deposit has replaced it, or if a process
/// is taking the tag over.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn take(
    worker: &Worker,
    requester: &Requester,
    participant: &Participant,
    taken: &Reservation,
) -> Result<(), Disconnected> {
    let slot = Some(taken.deposit.slot);
    at_hand::during(slot, pin!(delete_taken(worker, requester, participant, taken))).await
}

async fn delete_taken(
    worker: &Worker,
    requester: &Requester,
    participant: &Participant,
    taken: &Reservation,
) -> Result<(), Disconnected> {
    let (deposit, slot) = (&taken.deposit, taken.deposit.slot);
    let guard = worker.link.lock().await;
    let same = worker.slots.borrow().get(slot).is_some_and(|found| Rc::ptr_eq(found, deposit));
    let rules = worker.policy.now();
    let place = Place::slot(&rules.policy, slot);
    let context = RequestContext::new(worker, &rules, requester, Right::Del, place);
    if !same {
        return Ok(());
    }
    // It stays for the process that takes the tag over.
    if check_ownership_in_turn(&context, participant).is_err() {
        drop(guard);
        return takers::call_off(worker, slot.tag, std::slice::from_ref(taken)).await;
    }
    // The deposit has been sent already. So it is deleted even if this record cannot be written.
    let _ = context.record(Kind::Decision, Verdict::Granted, "taken");
    delete(worker, &guard, deposit).await
}

/// Whether a session's request may be done as far as the ownership of the tag goes: see
/// [`super::handover`].
pub(crate) fn check_ownership(
    context: &RequestContext<'_>,
    participant: &Participant,
) -> Result<(), Failure> {
    let Some(tag) = context.place.tag else { return Ok(()) };
    let changes = matches!(context.right(), Right::Add | Right::Del);
    Ok(context.worker.ownership.check_ownership(
        participant,
        tag,
        changes,
        context.place.is_serial(),
    )?)
}

/// The same when the request is done: of a serial tag only its owner changes anything. A claimant whose
/// turn came when it was granted the tag may have lost it by now.
pub(crate) fn check_ownership_in_turn(
    context: &RequestContext<'_>,
    participant: &Participant,
) -> Result<(), Failure> {
    check_ownership(context, participant)?;
    let owns =
        |tag| context.worker.ownership.with(tag, |ownership| ownership.is_owned_by(participant));
    match context.place.tag {
        Some(tag) if context.place.is_serial() && !owns(tag) => {
            Err(OwnershipRefusal::Granted.into())
        }
        _ => Ok(()),
    }
}

/// What another user deposited takes the right to replace.
pub(crate) fn may_change(
    context: &RequestContext<'_>,
    before: Option<&Deposit>,
) -> Result<(), Failure> {
    let Some(before) = before.filter(|before| !context.requester.is(before.owner)) else {
        return Ok(());
    };
    let decision = context.decide_also(Right::Replace);
    if decision.granted {
        return Ok(());
    }
    let reason = &decision.reason;
    Err(Failure::denied(&format!("uid {} deposited it; to replace it: {reason}", before.owner)))
}

/// Whether a peer may delete what it wants to take, which it must before it is given it.
pub(crate) fn may_take(
    context: &RequestContext<'_>,
    participant: &Participant,
    slot: Slot,
    before: Option<&Deposit>,
) -> Result<(), Failure> {
    may(context, &SlotRequest::Del(slot))?;
    check_ownership(context, participant)?;
    may_change(context, before)
}
