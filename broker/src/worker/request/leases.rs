//! Leases: who has what on terms, and giving it back. The supervisor has them.

use fdbroker_policy::Right;
use fdbroker_wire::version2::Report;
use fdbroker_wire::{Control, Errno};

use super::answer::Answer;
use super::context::{Outcome, RequestContext};
use super::decision::Requester;
use super::error::Failure;
use super::place::Place;
use crate::log::{Kind, Verdict};
use crate::worker::disconnected::Disconnected;
use crate::worker::state::Worker;
use crate::worker::supervisor_link::questions::Told;

/// What a user is told behind its own leases, whether there are others or not.
const OWN_ONLY: &str = "# these are the leases of your own user; those of others are listed only for users with the \
                        right `operate`\n";

/// Reports the leases with greater numbers than this one, as many as a report has room for, in lines of `key=value`:
/// to those who may see everything all of them, to others those of their own user.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn list(
    worker: &Worker,
    requester: &Requester,
    after: u64,
) -> Result<Answer, Disconnected> {
    let rules = worker.policy.now();
    let context = RequestContext::to_see(worker, &rules, requester);
    context.count(1);
    let of_all = context.decision.granted;
    // Its own are told to a process itself: not to another one that writes on its connection.
    if !of_all && !requester.is(requester.connection().uid) {
        return Ok(context.fail(context.refused()));
    }
    let of = (!of_all).then(|| requester.asking().uid.0);
    let told = worker.link.ask(|ticket| Control::Leases { ticket, after, of }).await?;
    Ok(if of_all { all(&context, told) } else { own(&context, told) })
}

fn all(context: &RequestContext<'_>, told: Told) -> Answer {
    // It changes nothing, and discloses no deposit.
    let _ = context.record(Kind::Decision, Verdict::Granted, "the leases were sent");
    Answer::Report(report(told))
}

/// A user's own, which takes no rule: so it is recorded as often as a refusal, and no more.
fn own(context: &RequestContext<'_>, told: Told) -> Answer {
    let reason = format!("only its own leases were sent: {}", context.decision.reason);
    let told = told.map(|text| if text.is_empty() { OWN_ONLY.to_owned() } else { text });
    context.finish(Outcome::Told(Answer::Report(report(told)), reason))
}

/// Ends a lease: the peer's own, or with the right to operate anybody's.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn end(
    worker: &Worker,
    requester: &Requester,
    number: u64,
) -> Result<Answer, Disconnected> {
    let rules = worker.policy.now();
    let context = RequestContext::new(worker, &rules, requester, Right::Operate, Place::broker());
    context.count(1);
    let of_anybody = context.decision.granted;
    // What is somebody's own it ends itself: not another process that writes on its connection.
    if !of_anybody && !requester.is(requester.connection().uid) {
        return Ok(context.fail(context.refused()));
    }
    let by = requester.asking().uid.0;
    let question = |ticket| Control::EndLease { ticket, number, by, of_anybody };
    match worker.link.ask(question).await? {
        Ok(text) => {
            // The supervisor has recorded the end before it happened.
            let _ = context.record(Kind::Decision, Verdict::Granted, &text);
            Ok(Answer::Report(report(Ok(text))))
        }
        Err((Errno::IO, _)) => Ok(context.fail(Failure::unrecorded())),
        // Whether there is another user's is not for everybody to know.
        Err(_) if !of_anybody => Ok(context.fail(context.refused())),
        Err(failure) => {
            let _ = context.record(Kind::Decision, Verdict::Failed, &failure.1);
            Ok(Answer::Report(report(Err(failure))))
        }
    }
}

fn report(told: Told) -> Report {
    match told {
        Ok(text) => Report { error: None, text },
        Err((errno, text)) => Report { error: Some(errno), text },
    }
}
