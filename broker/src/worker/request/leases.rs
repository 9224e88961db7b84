//! Leases: who has what on terms, and giving it back. The supervisor has them.

use fdbroker_policy::Right;
use fdbroker_wire::version2::Report;
use fdbroker_wire::{Control, Errno};

use super::answer::Answer;
use super::context::RequestContext;
use super::decision::Requester;
use super::error::Failure;
use super::place::Place;
use crate::log::{Kind, Verdict};
use crate::worker::disconnected::Disconnected;
use crate::worker::state::Worker;

/// Reports the leases with greater numbers than this one, as many as a report has room for, in lines of `key=value`.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn list(
    worker: &Worker,
    requester: &Requester,
    after: u64,
) -> Result<Answer, Disconnected> {
    let rules = worker.policy.now();
    let context = RequestContext::new(worker, &rules, requester, Right::Operate, Place::broker());
    context.count(1);
    if !context.decision.granted {
        return Ok(context.fail(context.refused()));
    }
    // It changes nothing, and discloses no deposit.
    let _ = context.record(Kind::Decision, Verdict::Granted, "the leases were sent");
    let told = worker.link.ask(|ticket| Control::Leases { ticket, after }).await?;
    Ok(Answer::Report(report(told)))
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

fn report(told: Result<String, (Errno, String)>) -> Report {
    match told {
        Ok(text) => Report { error: None, text },
        Err((errno, text)) => Report { error: Some(errno), text },
    }
}
