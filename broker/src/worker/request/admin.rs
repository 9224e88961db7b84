//! What operators ask of the broker itself: reload, purge, status.

use std::fmt::Write;
use std::pin::pin;

use fdbroker_policy::Right;
use fdbroker_wire::version2::Report;
use fdbroker_wire::{Errno, Slot};

use super::answer::Answer;
use super::context::{Outcome, RequestContext};
use super::decision::Requester;
use super::error::Failure;
use super::orphans::{self, is_unreachable};
use super::place::Place;
use super::slots::delete;
use crate::log::{Kind, Verdict};
use crate::worker::disconnected::Disconnected;
use crate::worker::peer::session::Session;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;
use crate::worker::supervisor_link::at_hand;

/// Said of a policy that was read and is not in force in time.
const LATE: &str = "the new policy has been read, and is not in force after 30 seconds; the old one \
counts until then: see the log, and fdbroker status";

fn context<'a>(
    worker: &'a Worker,
    rules: &'a Rules,
    requester: &'a Requester,
) -> RequestContext<'a> {
    let context = RequestContext::new(worker, rules, requester, Right::Operate, Place::broker());
    context.count(1);
    context
}

/// Has the supervisor read the policy again, and waits until it is in force.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn reload(worker: &Worker, requester: &Requester) -> Result<Answer, Disconnected> {
    let rules = worker.policy.now();
    let context = context(worker, &rules, requester);
    if !context.decision.granted {
        return Ok(context.fail(context.refused()));
    }
    if let Err(failure) = context.record_first("the policy is being read again") {
        return Ok(context.finish(Outcome::Failed(failure)));
    }
    let reloaded = worker.link.reload().await?;
    let report = match reloaded.outcome {
        Ok(text) if worker.policy.is_reached(reloaded.generation).await => {
            Report { error: None, text }
        }
        Ok(_) => Report { error: Some(Errno::TIMEDOUT), text: LATE.to_owned() },
        Err((errno, text)) => Report { error: Some(errno), text },
    };
    Ok(context.finish(Outcome::Recorded(Answer::Report(report))))
}

/// Deletes a deposit that no rule reaches, or all of them.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn purge(
    worker: &Worker,
    requester: &Requester,
    session: &Session,
    slot: Option<Slot>,
) -> Result<Answer, Disconnected> {
    let rules = worker.policy.now();
    let context = context(worker, &rules, requester);
    if !context.decision.granted {
        return Ok(context.fail(context.refused()));
    }
    if let Some(slot) = slot
        && let Err(failure) = may_purge(&context, slot)
    {
        return Ok(context.fail(failure));
    }
    let slots = match slot {
        Some(slot) => vec![slot],
        None => orphans::all(worker).await,
    };
    let mut text = String::new();
    for slot in slots {
        session.turn.take().await;
        match at_hand::during(Some(slot), pin!(purge_one(&context, session, slot))).await? {
            // Writing to a String cannot fail.
            Ok(()) => drop(writeln!(text, "{slot}")),
            Err(failure) => return Ok(context.fail(failure)),
        }
    }
    let told = format!("deposits purged: {}", text.lines().count());
    Ok(context.finish(Outcome::Told(Answer::Report(Report { error: None, text }), told)))
}

fn may_purge(context: &RequestContext<'_>, slot: Slot) -> Result<(), Failure> {
    if context.worker.slots.borrow().get(slot).is_none() {
        return Err(Failure::absent());
    }
    if is_unreachable(context.rules, slot) {
        return Ok(());
    }
    Err(Failure::reachable())
}

/// Deletes one, if it is still there and out of reach.
async fn purge_one(
    context: &RequestContext<'_>,
    session: &Session,
    slot: Slot,
) -> Result<Result<(), Failure>, Disconnected> {
    let worker = context.worker;
    let guard = worker.link.lock().await;
    let found = worker.slots.borrow().get(slot).cloned();
    let Some(deposit) = found.filter(|_| is_unreachable(&worker.policy.now(), slot)) else {
        return Ok(Ok(()));
    };
    let place = Place::slot(&context.rules.policy, slot);
    let reason = format!("purged; uid {} deposited it", deposit.owner());
    if context.record_as(&place, Kind::Decision, Verdict::Granted, &reason).is_err() {
        return Ok(Err(Failure::unrecorded()));
    }
    session.closes.deleted(&deposit);
    delete(worker, &guard, &deposit).await.map(Ok)
}

/// Adds `audit` to what the supervisor says is degraded, if the audit file fails: only this worker knows that.
fn with_audit(health: &str, fails: bool) -> String {
    let Some(degraded) = health.strip_prefix("degraded=").filter(|_| fails) else {
        return health.to_owned();
    };
    match degraded.strip_prefix("none\n") {
        Some(rest) => format!("degraded=audit\n{rest}"),
        None => format!("degraded=audit {degraded}"),
    }
}

/// Reports the broker's health, in lines of `key=value`.
///
/// The report is sent even if the request cannot be recorded: it changes nothing and discloses no
/// deposit, and the operator who repairs the audit trail needs it.
pub(crate) fn status(worker: &Worker, requester: &Requester) -> Answer {
    let rules = worker.policy.now();
    let context = RequestContext::to_see(worker, &rules, requester);
    context.count(1);
    if !context.decision.granted {
        return context.fail(context.refused());
    }
    // First: whether that succeeds is told too.
    let _ = context.record(Kind::Decision, Verdict::Granted, "the status was sent");
    let (audit, lost) = match worker.audit.failing() {
        None => ("none", 0),
        Some(None) => ("ok", 0),
        Some(Some(lost)) => ("failing", lost),
    };
    let usage = worker.quotas.usage();
    let policy = &rules.policy;
    let lines = [
        ("instance", worker.instance.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("policy", rules.generation.to_string()),
        ("rules", policy.rule_count().to_string()),
        ("tags", policy.tags().count().to_string()),
        ("resources", policy.resources().len().to_string()),
        ("connections", usage.connections.to_string()),
        ("deposits", worker.slots.borrow().len().to_string()),
        ("descriptors", usage.descriptors.to_string()),
        ("descriptor_limit", usage.descriptor_limit.to_string()),
        ("sandbox", worker.sandbox.to_owned()),
        ("audit", audit.to_owned()),
        ("audit_lost", lost.to_string()),
    ];
    let mut text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    // What only the supervisor knows.
    text.push_str(&with_audit(&worker.health.borrow(), audit == "failing"));
    context.finish(Outcome::Recorded(Answer::Report(Report { error: None, text })))
}

#[cfg(test)]
mod tests {
    use super::with_audit;

    #[test]
    fn a_failing_audit_file_is_among_what_is_degraded() {
        assert_eq!(with_audit("degraded=none\nx=1\n", true), "degraded=audit\nx=1\n");
        assert_eq!(with_audit("degraded=names\nx=1\n", true), "degraded=audit names\nx=1\n");
        assert_eq!(with_audit("degraded=none\nx=1\n", false), "degraded=none\nx=1\n");
        assert_eq!(with_audit("", true), "");
    }
}
