//! Taking a tag over: CLAIM, RELEASE, READY and WITHDRAW.
//!
//! Every change is made while nothing else is written to the supervisor: what was decided before
//! it has been done by then, and what is decided afterwards sees it.

use std::rc::Rc;

use fdbroker_policy::Right;
use fdbroker_wire::Tag;
use fdbroker_wire::claim::{ClaimRequest, Claimed, State};

use super::answer::Answer;
use super::context::RequestContext;
use super::decision::Requester;
use super::error::Failure;
use super::place::Place;
use crate::worker::owner_changes::{alter, may_claim};
use crate::worker::ownership::claim::{Claim, End};
use crate::worker::ownership::participant::Participant;
use crate::worker::peer::session::Session;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;
use crate::worker::supervisor_link::write::LinkGuard;

/// Serves a request.
pub(crate) async fn serve(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
    request: ClaimRequest,
) -> Answer {
    loop {
        let rules = worker.policy.now();
        let context = context(worker, &rules, requester, request);
        if !context.decision.granted {
            return context.fail(context.refused());
        }
        context.count(1);
        let guard = worker.link.lock().await;
        // It is decided by the policy that is in force when it is done.
        if !worker.policy.are(&rules) {
            continue;
        }
        let outcome = carry_out(&context, &session.participant, &guard, request).await;
        if matches!(outcome, Ok(Answer::Claimed(_))) {
            session.touch(tag(request));
        }
        return outcome.unwrap_or_else(|failure| context.fail(failure));
    }
}

fn tag(request: ClaimRequest) -> Tag {
    match request {
        ClaimRequest::Claim { tag, .. } | ClaimRequest::ReleaseTo { tag, .. } => tag,
        ClaimRequest::Release(tag) | ClaimRequest::Ready(tag) | ClaimRequest::Withdraw(tag) => tag,
    }
}

/// What has to be decided: to give up what is one's own takes no right, unless another process asks
/// for it over the connection.
fn context<'a>(
    worker: &'a Worker,
    rules: &'a Rules,
    requester: &'a Requester,
    request: ClaimRequest,
) -> RequestContext<'a> {
    let place = Place::tag(&rules.policy, tag(request));
    let gives_up = !matches!(request, ClaimRequest::Claim { .. } | ClaimRequest::Ready(_));
    match gives_up && requester.wrote_itself() {
        true => RequestContext::without_rule(worker, rules, requester, Right::Claim, place),
        false => RequestContext::new(worker, rules, requester, Right::Claim, place),
    }
}

async fn carry_out(
    context: &RequestContext<'_>,
    participant: &Rc<Participant>,
    guard: &LinkGuard<'_>,
    request: ClaimRequest,
) -> Result<Answer, Failure> {
    let (worker, registry) = (context.worker, &context.worker.ownership);
    match request {
        ClaimRequest::Claim { tag, mode, time, settle } => {
            registry.with(tag, |ownership| ownership.may_claim(participant, mode))?;
            context.record_first("claimed")?;
            let claim = Claim::new(registry.number(), participant, mode, time, settle);
            let number = claim.number;
            let state = alter(worker, guard, tag, |ownership| ownership.claim(claim)).await;
            let claim = if state == State::Owned { 0 } else { number };
            return Ok(Answer::Claimed(Claimed { tag, state, claim }));
        }
        ClaimRequest::Release(tag) => release(context, participant, guard, tag, None).await?,
        ClaimRequest::ReleaseTo { tag, claim } => {
            release(context, participant, guard, tag, Some(claim)).await?;
        }
        ClaimRequest::Ready(tag) => {
            registry.with(tag, |ownership| ownership.may_be_ready(participant))?;
            context.record_first("ready")?;
            alter(worker, guard, tag, |ownership| ownership.ready(participant)).await;
        }
        ClaimRequest::Withdraw(tag) => {
            registry.with(tag, |ownership| ownership.may_withdraw(participant))?;
            context.record_first("withdrawn")?;
            let may = |participant: &Participant| may_claim(worker, tag, participant);
            alter(worker, guard, tag, |ownership| {
                ownership.leave(participant, End::Withdrawn, may)
            })
            .await;
        }
    }
    Ok(Answer::Done)
}

/// Releases the tag to one claim, or to whichever is the current one.
async fn release(
    context: &RequestContext<'_>,
    participant: &Rc<Participant>,
    guard: &LinkGuard<'_>,
    tag: Tag,
    claim: Option<i32>,
) -> Result<(), Failure> {
    context.worker.ownership.with(tag, |ownership| ownership.may_release(participant, claim))?;
    context.record_first("released")?;
    alter(context.worker, guard, tag, |ownership| ownership.release()).await;
    Ok(())
}
