//! One request: decide, wait for a turn where the tag is serial, act, record, answer.

use fdbroker_policy::{ResourceIndex, Right};
use fdbroker_wire::{Add, Errno, Fault, Index, Message, Slot, Tag};

use super::answer::{Answer, Failure};
use super::decision::{Decision, Requester};
use super::deposit::{Deposit, record};
use super::inbox::Incoming;
use super::place::{Place, policy_tag};
use super::session::Session;
use super::{Brought, Worker, kind};
use crate::log::{Entry, Name, Record, Subject, Verdict};

/// What version 1 serves.
enum Request {
    Get(Slot),
    Add(Add<Brought>),
    Del(Slot),
    Count(Tag),
}

/// Serves a request; none when the peer has left while it waited, or the supervisor has gone.
pub(super) async fn serve(
    worker: &Worker,
    session: &mut Session,
    incoming: Incoming,
) -> Option<Answer> {
    let Incoming { message, writer } = incoming;
    let request = match Request::of(message) {
        Ok(request) => request,
        Err(fault) => return Some(malformed(worker, session, fault)),
    };
    let place = request.place(worker);
    let right = request.right();
    let requester = Requester::new(&session.identity, writer);
    let decision = decide(worker, &requester, right, &place);
    let outcome = match may(worker, &request, &place, &decision) {
        Err(failure) => Err(failure),
        Ok(()) if place.is_serial() && !session.take_turn(worker, place.tag).await => return None,
        Ok(()) => request.act(worker, &requester, &place).await?,
    };
    Some(conclude(worker, &requester, right, &place, &decision, outcome))
}

impl Request {
    fn of(message: Result<Message<Brought>, Fault>) -> Result<Self, Fault> {
        match message? {
            Message::Get(slot) => Ok(Self::Get(slot)),
            Message::Add(add) => Ok(Self::Add(add)),
            Message::Del(slot) => Ok(Self::Del(slot)),
            Message::Tag(tag) => Ok(Self::Count(tag)),
            Message::Extended(_) | Message::Hello(_) | Message::Reply(_) | Message::Info(_) => {
                Err(NOT_SERVED)
            }
        }
    }

    fn place<'w>(&self, worker: &'w Worker) -> Place<'w> {
        match self {
            Self::Get(slot) | Self::Del(slot) => Place::slot(&worker.policy, *slot),
            Self::Add(add) => Place::slot(&worker.policy, add.slot),
            Self::Count(tag) => Place::tag(&worker.policy, *tag),
        }
    }

    fn right(&self) -> Right {
        match self {
            Self::Get(_) => Right::Get,
            Self::Add(_) => Right::Add,
            Self::Del(_) => Right::Del,
            Self::Count(_) => Right::Tag,
        }
    }

    /// Does it; none when the supervisor has gone.
    async fn act(
        self,
        worker: &Worker,
        requester: &Requester,
        place: &Place<'_>,
    ) -> Option<Result<Answer, Failure>> {
        match self {
            Self::Get(slot) => Some(match place.resource {
                Some((resource, _)) => open(worker, requester, slot, resource).await,
                None => held(worker, slot),
            }),
            Self::Add(add) => keep(worker, requester, place, add).await,
            Self::Del(slot) => forget(worker, requester, place, slot).await,
            Self::Count(tag) => {
                let largest = largest_resource(worker, tag);
                Some(Ok(Answer::Info(worker.slots.borrow().info(tag, largest))))
            }
        }
    }
}

const NOT_SERVED: Fault =
    Fault { errno: Errno::PROTO, reason: "the opcode is not served", fatal: false };

fn decide<'w>(
    worker: &'w Worker,
    requester: &Requester,
    right: Right,
    place: &Place<'_>,
) -> Decision<'w> {
    match place.target {
        Some(target) => requester.decide(&worker.policy, right, target),
        None => Decision::refused(None, "no rule allows it".to_owned()),
    }
}

/// Whether the request may be done, as far as that can be told before it has its turn.
fn may(
    worker: &Worker,
    request: &Request,
    place: &Place<'_>,
    decision: &Decision<'_>,
) -> Result<(), Failure> {
    if !decision.granted {
        return Err(Failure::refused(decision));
    }
    let changes = matches!(request, Request::Add(_) | Request::Del(_));
    if changes && place.resource.is_some() {
        return Err(Failure::denied("a resource's slot is the policy's own"));
    }
    match request {
        Request::Add(add) => acceptable(worker, place, add),
        _ => Ok(()),
    }
}

/// Whether a deposit may lie in its tag at all, whoever brings it.
fn acceptable(worker: &Worker, place: &Place<'_>, add: &Add<Brought>) -> Result<(), Failure> {
    let descriptor = add.descriptor.as_ref().and_then(Brought::descriptor);
    let kind = kind::of(descriptor);
    if worker.guard.knows(descriptor, kind) {
        let reason = "the broker does not hold its own sockets";
        return Err(Failure::plain(Errno::OPNOTSUPP, reason));
    }
    if place.settings.is_some_and(|settings| settings.accept.contains(kind)) {
        return Ok(());
    }
    let reason = format!("the tag does not accept a deposit of kind {}", kind.name());
    Err(Failure::plain(Errno::OPNOTSUPP, &reason))
}

fn held(worker: &Worker, slot: Slot) -> Result<Answer, Failure> {
    let deposit = worker.slots.borrow().get(slot).cloned();
    deposit.map(Answer::Deposit).ok_or_else(Failure::absent)
}

async fn open(
    worker: &Worker,
    requester: &Requester,
    slot: Slot,
    resource: ResourceIndex,
) -> Result<Answer, Failure> {
    let uid = requester.connection().uid;
    match worker.vault.open(resource.0, worker.quotas.opening(uid)).await {
        Ok(mut opened) => {
            opened.move_to(uid);
            Ok(Answer::Resource(slot, opened))
        }
        Err((errno, reason)) => Err(Failure::not_opened(errno, &reason)),
    }
}

/// The largest index of `tag` that the policy itself fills.
fn largest_resource(worker: &Worker, tag: Tag) -> Option<Index> {
    let tag = policy_tag(tag)?;
    let resources = worker.policy.resources().iter().filter(|resource| resource.slot.tag == tag);
    let largest = resources.map(|resource| resource.slot.index.get()).max()?;
    i32::try_from(largest).ok().and_then(Index::new)
}

/// Keeps a deposit, at the supervisor first; none when the supervisor has gone.
async fn keep(
    worker: &Worker,
    requester: &Requester,
    place: &Place<'_>,
    add: Add<Brought>,
) -> Option<Result<Answer, Failure>> {
    let (slot, owner) = (add.slot, requester.connection().uid);
    let pen = worker.vault.pen().await;
    let before = worker.slots.borrow().get(slot).cloned();
    let charge = may_change(worker, requester, place, before.as_deref()).and_then(|()| {
        let replaced = before.as_deref().map(|before| &*before.charge);
        worker
            .quotas
            .deposit(owner, add.payload.len(), add.descriptor.is_some(), replaced)
            .map_err(|exceeded| Failure::plain(Errno::DQUOT, &exceeded.to_string()))
    });
    let charge = match charge {
        Ok(charge) => charge,
        Err(failure) => return Some(Err(failure)),
    };
    let descriptor = add.descriptor.as_ref().and_then(Brought::descriptor);
    pen.keep(slot, add.ufd, &record(owner), &add.payload, descriptor).await.ok()?;
    before.iter().for_each(|before| worker.vault.leaves(before));
    worker.slots.borrow_mut().put(Deposit::new(add, owner, charge));
    Some(Ok(Answer::Done))
}

/// Forgets a deposit, at the supervisor first; none when the supervisor has gone.
async fn forget(
    worker: &Worker,
    requester: &Requester,
    place: &Place<'_>,
    slot: Slot,
) -> Option<Result<Answer, Failure>> {
    let pen = worker.vault.pen().await;
    let before = worker.slots.borrow().get(slot).cloned();
    let Some(before) = before else { return Some(Err(Failure::absent())) };
    if let Err(failure) = may_change(worker, requester, place, Some(&before)) {
        return Some(Err(failure));
    }
    pen.forget(slot).await.ok()?;
    worker.vault.leaves(&before);
    worker.slots.borrow_mut().take(slot);
    Some(Ok(Answer::Done))
}

/// What another user deposited takes the right to replace.
fn may_change(
    worker: &Worker,
    requester: &Requester,
    place: &Place<'_>,
    before: Option<&Deposit>,
) -> Result<(), Failure> {
    let Some(before) = before.filter(|before| !requester.is(before.owner)) else {
        return Ok(());
    };
    let decision = decide(worker, requester, Right::Replace, place);
    if decision.granted {
        return Ok(());
    }
    let reason = &decision.reason;
    Err(Failure::denied(&format!("uid {} deposited it; to replace it: {reason}", before.owner)))
}

/// Records what came of a request, and gives its answer.
fn conclude(
    worker: &Worker,
    requester: &Requester,
    right: Right,
    place: &Place<'_>,
    decision: &Decision<'_>,
    outcome: Result<Answer, Failure>,
) -> Answer {
    let (verdict, reason) = match &outcome {
        Ok(_) => (Verdict::Granted, "done"),
        Err(failure) => (failure.verdict, failure.reason.as_str()),
    };
    let connection = requester.connection();
    worker.log.write(&Entry::audit(Record {
        uid: connection.uid,
        gid: connection.gid,
        pid: connection.pid,
        right: right.name(),
        subject: place.subject(),
        name: place.name(),
        verdict,
        rule: decision.rule,
        sender: requester.other_writer().map(|writer| (writer.uid, writer.gid, writer.pid)),
        reason,
    }));
    outcome.unwrap_or_else(|failure| Answer::Failed(failure.errno, failure.text))
}

/// Records and answers what was no request.
fn malformed(worker: &Worker, session: &Session, fault: Fault) -> Answer {
    worker.log.write(&Entry::audit(Record {
        uid: session.identity.uid,
        gid: session.identity.gid,
        pid: session.identity.pid,
        right: "none",
        subject: Subject::Nothing,
        name: Name::None,
        verdict: Verdict::Refused,
        rule: None,
        sender: None,
        reason: fault.reason,
    }));
    Answer::Failed(fault.errno, fault.reason.to_owned())
}
