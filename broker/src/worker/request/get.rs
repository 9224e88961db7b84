//! GET and GET_MANY: slots of a tag are got run by run. A single GET is a range of one.
//!
//! What needs no wait is left to [`super::runs`]. Everything else is waited for slot by slot: a
//! resource until it is open, a serial tag until it is the session's.

use std::pin::pin;
use std::rc::Rc;

use fdbroker_policy::{Resource, ResourceIndex, Right};
use fdbroker_wire::{Index, MAX_PAYLOAD, Opened, Slot, Tag};

use super::admission::Admission;
use super::answer::Answer;
use super::batch::{BatchBuilder, BatchReply, Found};
use super::context::RequestContext;
use super::decision::Requester;
use super::error::{Denial, Failure};
use super::open::{ask, opened};
use super::place::Place;
use super::runs::{self, Question};
use super::takers;
use crate::fd::PeerFd;
use crate::log::{Kind, Verdict};
use crate::worker::disconnected::Disconnected;
use crate::worker::peer::session::Session;
use crate::worker::state::Worker;
use crate::worker::supervisor_link::at_hand;

/// The slots that a request asks for.
#[derive(Clone, Copy)]
pub(crate) struct Range<'a> {
    pub(crate) tag: Tag,
    pub(crate) indices: &'a [Index],
    /// Whether what is given is to be deleted.
    pub(crate) take: bool,
}

/// Serves GET.
///
/// # Errors
/// If the peer has left while it waited, or the supervisor has gone.
pub(crate) async fn one(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
    slot: Slot,
) -> Result<Answer, Disconnected> {
    let range = Range { tag: slot.tag, indices: &[slot.index], take: false };
    let batch = loop {
        let mut batch = BatchBuilder::new(1, 1);
        {
            let gathered = pin!(gather(worker, session, requester, range, &mut batch));
            at_hand::during(Some(slot), gathered).await?;
        }
        if !is_outlasted(worker, session, requester).await? {
            break batch;
        }
    };
    Ok(match batch.into_only() {
        Ok(Found::Deposit(deposit)) => Answer::Deposit(deposit),
        Ok(Found::Resource(_, opened)) => Answer::Resource(slot, opened),
        Err(denial) => Answer::Failed(denial),
    })
}

/// Serves GET_MANY. The supervisor knows who takes what before that is answered.
///
/// # Errors
/// As [`one`].
pub(crate) async fn many(
    worker: &Worker,
    session: &mut Session,
    requester: Requester,
    range: Range<'_>,
) -> Result<BatchReply, Disconnected> {
    let mut batch = loop {
        let most = session.outbox.most_at_once();
        let mut batch = BatchBuilder::new(range.indices.len(), most);
        gather(worker, session, &requester, range, &mut batch).await?;
        if !is_outlasted(worker, session, &requester).await? {
            break batch;
        }
    };
    let rules = worker.policy.now();
    // Others may have left no room for as many while this one waited.
    batch.cut(session.outbox.most_at_once());
    session.outbox.keep_room(batch.descriptors());
    let reply = batch.finish(range.tag, requester, Rc::clone(&session.participant), rules);
    takers::announce(worker, range.tag, &reply.takes.reservations, &reply.takes.participant)
        .await?;
    Ok(reply)
}

/// Holds an answer back for as long as it must be; returns whether another policy is in force by then, so
/// that what it has is to be decided again.
async fn is_outlasted(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
) -> Result<bool, Disconnected> {
    let (pause, before) = (requester.take_pause(), worker.policy.now().generation);
    session.pause(worker, pause).await?;
    let is_outlasted = worker.policy.now().generation != before;
    if is_outlasted {
        // It has waited for what it counts as.
        requester.counts_no_more();
    }
    Ok(is_outlasted)
}

/// Gets slots run by run, and what has to be waited for slot by slot, as long as there is room.
async fn gather(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
    range: Range<'_>,
    batch: &mut BatchBuilder,
) -> Result<(), Disconnected> {
    loop {
        let question = Question { requester, session, tag: range.tag, take: range.take };
        if !runs::get(worker, question, batch.rest(range.indices), batch) {
            session.turn.take().await;
            continue;
        }
        let Some(&index) = batch.rest(range.indices).first() else { return Ok(()) };
        let slot = Slot { tag: range.tag, index };
        // Of what has to be waited for it is not known how large it will be.
        let room = batch.has_room(MAX_PAYLOAD);
        if !room || !batch.has_room_to_open(worker, requester, slot) {
            return Ok(());
        }
        if range.take
            && let Err(denial) = may_be_taken(worker, session, requester, slot)
        {
            batch.nothing(index, denial);
            continue;
        }
        if !batch.is_empty() {
            session.turn.take().await;
        }
        {
            let waits = pin!(wait(worker, session, requester, range, slot, batch));
            at_hand::during(Some(slot), waits).await?;
        }
        batch.limit(session.outbox.most_at_once());
    }
}

/// Returns whether a peer may take what is in a slot that has to be waited for; if not, that is recorded.
fn may_be_taken(
    worker: &Worker,
    session: &Session,
    requester: &Requester,
    slot: Slot,
) -> Result<(), Denial> {
    let rules = worker.policy.now();
    let place = Place::slot(&rules.policy, slot);
    let context = RequestContext::new(worker, &rules, requester, Right::Del, place);
    let before = worker.slots.borrow().get(slot).cloned();
    runs::may_take(&context, &session.participant, before.as_deref())
        .map_err(|failure| context.deny(failure))
}

/// Opens a resource. A caller that waits for a connection may leave, and none is made for it then. Returns `None` if it
/// has to be decided again.
async fn until_open(
    context: &RequestContext<'_>,
    session: &mut Session,
    resource: (ResourceIndex, &Resource),
) -> Result<Result<Option<Box<Opened<PeerFd>>>, Failure>, Disconnected> {
    let asked = match ask(context, resource).await {
        Ok(asked) => asked,
        Err(failure) => return Ok(Err(failure)),
    };
    let opens = while_it_holds(context, resource.1, opened(context, asked));
    if !resource.1.is_connection() {
        return Ok(opens.await);
    }
    let opened = session.during(context.worker, opens).await;
    opened.inspect_err(|Disconnected| {
        // It is not answered in any case.
        let _ = context.record(Kind::Open, Verdict::Failed, "its caller has left");
    })
}

/// Waits for a resource as long as each policy that comes into force decides as before, about the same resource.
async fn while_it_holds<T>(
    context: &RequestContext<'_>,
    resource: &Resource,
    opens: impl Future<Output = Result<Option<T>, Failure>>,
) -> Result<Option<T>, Failure> {
    let (policy, mut opens) = (&context.worker.policy, pin!(opens));
    let mut generation = context.rules.generation;
    loop {
        let opened = tokio::select! {
            biased;
            opened = &mut opens => Some(opened),
            () = policy.reached(generation + 1) => None,
        };
        let holds = holds_still(context, resource);
        match opened {
            // What was opened for a request that is to be decided again is closed.
            Some(Ok(_)) | None if !holds => return Ok(None),
            Some(opened) => return opened,
            None => generation = policy.now().generation,
        }
    }
}

/// Whether the policy in force grants the same resource. Where nothing changes with time, the policy that granted it does.
fn holds_still(context: &RequestContext<'_>, resource: &Resource) -> bool {
    let rules = context.worker.policy.now();
    if std::ptr::eq(&*rules, context.rules) && !rules.policy.is_timed() {
        return true;
    }
    let place = Place::slot(&rules.policy, resource.slot);
    let is_same = place.resource.is_some_and(|(_, found)| found == resource);
    is_same && context.requester.decide(&rules, Right::Get, place.target).granted
}

/// Opens the resource in a slot, or gets the slot when the turn on its serial tag has come.
async fn wait(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
    range: Range<'_>,
    slot: Slot,
    batch: &mut BatchBuilder,
) -> Result<(), Disconnected> {
    let mut admission = Admission::default();
    loop {
        let rules = worker.policy.now();
        let place = Place::slot(&rules.policy, slot);
        let context = RequestContext::new(worker, &rules, requester, Right::Get, place);
        match admission.wait(&context, session, context.may()).await? {
            Ok(true) => {}
            Ok(false) => continue,
            Err(failure) => {
                batch.nothing(slot.index, context.deny(failure));
                return Ok(());
            }
        }
        let Some(resource) = context.place.resource else {
            let question = Question { requester, session, tag: range.tag, take: range.take };
            runs::get(worker, question, &[slot.index], batch);
            return Ok(());
        };
        let opened = until_open(&context, session, resource).await?;
        // Recorded by the policy that is in force by now, and decides likewise.
        let now = worker.policy.now();
        let context = if Rc::ptr_eq(&now, &rules) {
            context
        } else {
            let place = Place::slot(&now.policy, slot);
            RequestContext::new(worker, &now, requester, Right::Get, place)
        };
        let opened = match opened {
            Ok(None) => continue,
            Ok(Some(opened)) => context.record_handed_out(&opened).map(|()| opened),
            Err(failure) => Err(failure),
        };
        context.count(1);
        match opened {
            Ok(opened) => batch.resource(slot, opened),
            Err(failure) => batch.nothing(slot.index, context.deny(failure)),
        }
        return Ok(());
    }
}
