//! Many slots of a tag in one request: each is decided and done like one of its own, and recorded
//! before it is answered.

use std::rc::Rc;

use fdbroker_policy::Right;
use fdbroker_wire::many::{Deposit as Entry, ManyRequest};
use fdbroker_wire::{Add, Errno, Index, MAX_PAYLOAD, Slot, Tag};

use super::answer::Answer;
use super::batch::{Gathered, Got};
use super::context::RequestContext;
use super::decision::Requester;
use super::error::Failure;
use super::place::Place;
use super::runs;
use super::runs::Question;
use super::slot_request::SlotRequest;
use super::slots;
use super::takers;
use crate::fd::PeerFd;
use crate::worker::disconnected::Disconnected;
use crate::worker::ownership::participant::Participant;
use crate::worker::peer::session::Session;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;

/// Serves a request.
///
/// # Errors
/// If the peer has left while it waited, or the supervisor has gone.
pub(crate) async fn serve(
    worker: &Worker,
    session: &mut Session,
    requester: Requester,
    request: ManyRequest<PeerFd>,
) -> Result<Answer, Disconnected> {
    match request {
        ManyRequest::Get { tag, indices, take } => {
            let got = get(worker, session, requester, tag, &indices, take).await?;
            takers::announce(worker, tag, &got.takes.reservations, &got.takes.participant).await?;
            Ok(Answer::Got(Box::new(got)))
        }
        ManyRequest::Add { tag, deposits } => {
            let mut outcomes = Vec::with_capacity(deposits.len());
            for Entry { index, ufd, payload, descriptor } in deposits {
                session.turn.take().await;
                let add = Add { slot: Slot { tag, index }, ufd, payload, descriptor };
                let answer =
                    slots::serve(worker, session, &requester, SlotRequest::Add(add)).await?;
                outcomes.push(done(&answer));
            }
            session.leaving.closed().await;
            session.pause(worker, requester.pause()).await?;
            Ok(Answer::DoneMany(tag, outcomes))
        }
        ManyRequest::Del { tag, indices } => {
            let mut outcomes = Vec::with_capacity(indices.len());
            for index in indices {
                session.turn.take().await;
                let del = SlotRequest::Del(Slot { tag, index });
                outcomes.push(done(&slots::serve(worker, session, &requester, del).await?));
            }
            session.leaving.closed().await;
            session.pause(worker, requester.pause()).await?;
            Ok(Answer::DoneMany(tag, outcomes))
        }
    }
}

fn done(answer: &Answer) -> Result<(), Errno> {
    match answer {
        Answer::Failed(errno, _) => Err(*errno),
        _ => Ok(()),
    }
}

/// Gets what can be got at once run by run, and all else slot by slot, as long as there is room.
async fn get(
    worker: &Worker,
    session: &mut Session,
    requester: Requester,
    tag: Tag,
    indices: &[Index],
    take: bool,
) -> Result<Got, Disconnected> {
    let mut gathered = Gathered::new(indices.len());
    let mut had_its_turn = false;
    loop {
        let question = Question { requester: &requester, session, tag, take, had_its_turn };
        if !runs::get(worker, question, gathered.rest(indices), &mut gathered) {
            session.turn.take().await;
            had_its_turn = false;
            continue;
        }
        // Of what has to be waited for it is not known how large it will be.
        let Some(&index) = gathered.rest(indices).first() else { break };
        if !gathered.has_room(MAX_PAYLOAD) {
            break;
        }
        let slot = Slot { tag, index };
        if !gathered.has_room_to_open(worker, &requester, slot) {
            break;
        }
        if take && let Err(errno) = may_be_taken(worker, &requester, &session.participant, slot) {
            gathered.nothing(index, errno);
            continue;
        }
        session.turn.take().await;
        let answer = slots::serve(worker, session, &requester, SlotRequest::Get(slot)).await?;
        had_its_turn = matches!(answer, Answer::Deposit(_));
        if take
            && had_its_turn
            && let Err(errno) = may_still(worker, &requester, &session.participant, slot)
        {
            gathered.nothing(index, errno);
            continue;
        }
        match answer {
            Answer::Deposit(deposit) => {
                let taken = take.then(|| worker.taking.begin(&deposit, &session.participant));
                gathered.deposit(deposit, taken);
            }
            Answer::Resource(slot, opened) => gathered.resource(slot, opened),
            Answer::Failed(errno, _) => gathered.nothing(index, errno),
            _ => gathered.nothing(index, Errno::IO),
        }
    }
    session.pause(worker, requester.pause()).await?;
    Ok(gathered.finish(tag, requester, Rc::clone(&session.participant)))
}

/// Whether a peer may take what is in a slot that has to be waited for; if not, that is recorded.
fn may_be_taken(
    worker: &Worker,
    requester: &Requester,
    participant: &Participant,
    slot: Slot,
) -> Result<(), Errno> {
    let rules = worker.policy.now();
    let context = deletion(worker, &rules, requester, slot);
    let before = worker.slots.borrow().get(slot).cloned();
    slots::may_take(&context, participant, slot, before.as_deref())
        .map_err(|failure| recorded(&context, failure))
}

/// Whether it may when its turn has come: that may be a claimant's, who changes nothing.
fn may_still(
    worker: &Worker,
    requester: &Requester,
    participant: &Participant,
    slot: Slot,
) -> Result<(), Errno> {
    let rules = worker.policy.now();
    let context = deletion(worker, &rules, requester, slot);
    slots::check_ownership_in_turn(&context, participant)
        .map_err(|failure| recorded(&context, failure))
}

/// The deletion of what is taken.
fn deletion<'a>(
    worker: &'a Worker,
    rules: &'a Rules,
    requester: &'a Requester,
    slot: Slot,
) -> RequestContext<'a> {
    let place = Place::slot(&rules.policy, slot);
    RequestContext::new(worker, rules, requester, Right::Del, place)
}

fn recorded(context: &RequestContext<'_>, failure: Failure) -> Errno {
    let errno = failure.errno;
    // Only for its record.
    drop(context.fail(failure));
    errno
}
