//! ADD, DEL and TAG: decide, wait for a turn where the tag is serial, act, record.

use std::pin::pin;
use std::rc::Rc;

use fdbroker_policy::{Accept, Right};
use fdbroker_wire::{Add, Control, DepositNumber, Index, Slot, Tag};

use super::admission::{Admission, check_ownership_in_turn};
use super::answer::Answer;
use super::context::{Outcome, RequestContext};
use super::decision::Requester;
use super::error::Failure;
use super::place::Place;
use crate::deposit_record::DepositRecord;
use crate::fd::{PeerFd, kind};
use crate::worker::disconnected::Disconnected;
use crate::worker::peer::session::Session;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;
use crate::worker::store::deposit::Deposit;
use crate::worker::supervisor_link::at_hand;
use crate::worker::supervisor_link::write::{LinkGuard, Unsent};

/// What is asked of a slot or tag, but to get something.
pub(crate) enum SlotRequest {
    Add(Add<PeerFd>),
    Del(Slot),
    Count(Tag),
}

impl SlotRequest {
    /// The slot that it is on.
    fn slot(&self) -> Option<Slot> {
        match self {
            Self::Del(slot) => Some(*slot),
            Self::Add(add) => Some(add.slot),
            Self::Count(_) => None,
        }
    }

    fn right(&self) -> Right {
        match self {
            Self::Add(_) => Right::Add,
            Self::Del(_) => Right::Del,
            Self::Count(_) => Right::Tag,
        }
    }

    /// What it addresses.
    fn place<'p>(&self, rules: &'p Rules) -> Place<'p> {
        match self {
            Self::Del(slot) => Place::slot(&rules.policy, *slot),
            Self::Add(add) => Place::slot(&rules.policy, add.slot),
            Self::Count(tag) => Place::tag(&rules.policy, *tag),
        }
    }
}

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
    let mut admission = Admission::default();
    loop {
        let rules = worker.policy.now();
        let place = request.place(&rules);
        let context = RequestContext::new(worker, &rules, requester, request.right(), place);
        match admission.wait(&context, session, may(&context, &request)).await? {
            Ok(true) => {}
            Ok(false) => continue,
            Err(failure) => return Ok(context.fail(failure)),
        }
        context.count(1);
        let outcome = match request {
            SlotRequest::Add(add) => keep(&context, session, add).await?,
            SlotRequest::Del(slot) => forget(&context, session, slot).await?,
            SlotRequest::Count(tag) => Outcome::Done(count(&context, tag)),
        };
        return Ok(context.finish(outcome));
    }
}

/// Whether the request may be done, as far as that can be told before it has its turn.
fn may(context: &RequestContext<'_>, request: &SlotRequest) -> Result<(), Failure> {
    context.may()?;
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
        return Err(Failure::own_socket());
    }
    let accept = context.place.settings.map_or(Accept::NOTHING, |settings| settings.accept);
    if accept.contains(kind) { Ok(()) } else { Err(Failure::not_accepted(kind, accept)) }
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
    let (owner, payer) = (context.requester.connection().uid, session.connection.payer);
    let guard = worker.link.lock().await;
    let before = worker.slots.borrow().get(slot).cloned();
    let may = check_ownership_in_turn(context, &session.participant)
        .and_then(|()| may_change(context, before.as_deref()));
    let charge = may.and_then(|()| {
        let replaced = before.as_deref().map(|before| &*before.charge);
        worker
            .quotas
            .deposit(payer, add.payload.len(), add.descriptor.is_some(), replaced)
            .map_err(|exceeded| Failure::exceeds(&exceeded))
    });
    // From here on only want of room on the way to the supervisor, or its end, keeps it from being done.
    let charge = match charge.and_then(|charge| context.record_first("done").map(|()| charge)) {
        Ok(charge) => charge,
        Err(failure) => return Ok(Outcome::Failed(failure)),
    };
    let record = DepositRecord { owner, number: worker.link.copies.next_number() };
    let origin = context.requester.origin();
    let deposit = Deposit::new(add, (record, origin), payer, charge);
    match guard.keep(&deposit).await {
        Ok(()) => {}
        Err(Unsent::Later) => return Ok(Outcome::Failed(Failure::supervisor_full())),
        Err(Unsent::Ends) => return Err(Disconnected),
    }
    if let Some(before) = &before {
        worker.link.copies.leaves(before);
        if !context.place.is_strict() {
            session.closes.replaced(before);
        }
        worker.freed.count();
    }
    worker.taking.forget(slot);
    let number = deposit.record.number;
    worker.slots.borrow_mut().put(Rc::new(deposit));
    drop(guard);
    if context.place.is_strict() {
        return outlives(context, session, slot, number, before).await;
    }
    Ok(Outcome::Recorded(Answer::Done))
}

/// Waits until a new deposit outlives the broker. One that does not is not kept: what it replaced is put back.
async fn outlives(
    context: &RequestContext<'_>,
    session: &Session,
    slot: Slot,
    number: DepositNumber,
    before: Option<Rc<Deposit>>,
) -> Result<Outcome, Disconnected> {
    let worker = context.worker;
    let told = worker.link.ask(|ticket| Control::Durable { ticket, slot }).await?;
    let Err((errno, reason)) = told else {
        before.iter().for_each(|before| session.closes.replaced(before));
        return Ok(Outcome::Recorded(Answer::Done));
    };
    let guard = worker.link.lock().await;
    let kept = worker.slots.borrow().get(slot).cloned();
    // Another one can have replaced it by now.
    if let Some(kept) = kept.filter(|kept| kept.record.number == number) {
        session.closes.deleted(&kept);
        match before {
            Some(before) => put_back(worker, &guard, &kept, before).await?,
            None => delete(worker, &guard, &kept).await?,
        }
    }
    Ok(Outcome::Failed(Failure::not_durable(errno, &reason)))
}

/// Puts what a deposit replaced back into its slot.
async fn put_back(
    worker: &Worker,
    guard: &LinkGuard<'_>,
    refused: &Deposit,
    before: Rc<Deposit>,
) -> Result<(), Disconnected> {
    guard.keep_again(&before).await?;
    worker.link.copies.leaves(refused);
    worker.taking.forget(before.slot);
    worker.slots.borrow_mut().put(before);
    worker.freed.count();
    Ok(())
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
    session.closes.deleted(&before);
    delete(worker, &guard, &before).await?;
    drop(guard);
    if context.place.is_strict() {
        // The supervisor has it from the journal: nothing of that can fail, but for want of memory.
        let told = worker.link.ask(|ticket| Control::Durable { ticket, slot }).await?;
        told.map_or_else(|(_, reason)| context.worker.log().warn(&reason), drop);
    }
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

/// What another user deposited takes the right to replace.
pub(crate) fn may_change(
    context: &RequestContext<'_>,
    before: Option<&Deposit>,
) -> Result<(), Failure> {
    let Some(before) = before.filter(|before| !context.requester.is(before.owner())) else {
        return Ok(());
    };
    let decision = context.decide_also(Right::Replace);
    if decision.granted {
        return Ok(());
    }
    Err(Failure::of_another(before.owner(), &decision.reason))
}
