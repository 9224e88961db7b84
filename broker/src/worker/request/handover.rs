//! Taking a tag over: CLAIM, RELEASE, READY and WITHDRAW.
//!
//! Every change is made while nothing else is written to the supervisor: what was decided before
//! it has been done by then, and what is decided afterwards sees it.

use std::rc::Rc;

use fdbroker_policy::Right;
use fdbroker_wire::Tag;
use fdbroker_wire::claim::{ClaimRequest, Claimed, State};

use super::answer::Answer;
use super::context::Case;
use super::decision::Requester;
use super::error::Failure;
use super::place::Place;
use crate::worker::owner_changes::{alter, may_claim};
use crate::worker::ownership::claim::{Claim, End};
use crate::worker::ownership::participant::Holder;
use crate::worker::peer::session::Session;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;
use crate::worker::supervisor_link::write::Pen;

/// Serves a request.
pub(crate) async fn serve(
    worker: &Worker,
    session: &mut Session,
    requester: &Requester,
    request: ClaimRequest,
) -> Answer {
    loop {
        let rules = worker.in_force.now();
        let case = case(worker, &rules, requester, request);
        if !case.decision.granted {
            return case.fail(Failure::refused(&case.decision));
        }
        case.count(1);
        let pen = worker.vault.pen().await;
        // It is decided by the policy that is in force when it is done.
        if !worker.in_force.are(&rules) {
            continue;
        }
        let outcome = carry_out(&case, &session.holder, &pen, request).await;
        if matches!(outcome, Ok(Answer::Claimed(_))) {
            session.touch(tag(request));
        }
        return outcome.unwrap_or_else(|failure| case.fail(failure));
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
fn case<'a>(
    worker: &'a Worker,
    rules: &'a Rules,
    requester: &'a Requester,
    request: ClaimRequest,
) -> Case<'a> {
    let place = Place::tag(&rules.policy, tag(request));
    let gives_up = !matches!(request, ClaimRequest::Claim { .. } | ClaimRequest::Ready(_));
    match gives_up && requester.wrote_itself() {
        true => Case::without_rule(worker, rules, requester, Right::Claim, place),
        false => Case::new(worker, rules, requester, Right::Claim, place),
    }
}

async fn carry_out(
    case: &Case<'_>,
    holder: &Rc<Holder>,
    pen: &Pen<'_>,
    request: ClaimRequest,
) -> Result<Answer, Failure> {
    let (worker, turns) = (case.worker, &case.worker.turns);
    match request {
        ClaimRequest::Claim { tag, mode, time, settle } => {
            turns.look(tag, |gate| gate.may_claim(holder, mode))?;
            case.record_first("claimed")?;
            let claim = Claim::new(turns.number(), holder, mode, time, settle);
            let number = claim.number;
            let state = alter(worker, pen, tag, |gate| gate.claim(claim)).await;
            let claim = if state == State::Owned { 0 } else { number };
            return Ok(Answer::Claimed(Claimed { tag, state, claim }));
        }
        ClaimRequest::Release(tag) => release(case, holder, pen, tag, None).await?,
        ClaimRequest::ReleaseTo { tag, claim } => {
            release(case, holder, pen, tag, Some(claim)).await?;
        }
        ClaimRequest::Ready(tag) => {
            turns.look(tag, |gate| gate.may_be_ready(holder))?;
            case.record_first("ready")?;
            alter(worker, pen, tag, |gate| gate.ready(holder)).await;
        }
        ClaimRequest::Withdraw(tag) => {
            turns.look(tag, |gate| gate.may_withdraw(holder))?;
            case.record_first("withdrawn")?;
            let may = |holder: &Holder| may_claim(worker, tag, holder);
            alter(worker, pen, tag, |gate| gate.leave(holder, End::Withdrawn, may)).await;
        }
    }
    Ok(Answer::Done)
}

/// Releases the tag to one claim, or to whichever is the current one.
async fn release(
    case: &Case<'_>,
    holder: &Rc<Holder>,
    pen: &Pen<'_>,
    tag: Tag,
    claim: Option<i32>,
) -> Result<(), Failure> {
    case.worker.turns.look(tag, |gate| gate.may_release(holder, claim))?;
    case.record_first("released")?;
    alter(case.worker, pen, tag, |gate| gate.release()).await;
    Ok(())
}
