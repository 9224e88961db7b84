//! INSPECT: all slots that hold something, all sessions or users, to operators. A line of JSON for each, as many as a report has room for.

mod address;
mod page;
mod sessions;
mod slots;
mod users;

use fdbroker_policy::Right;
use fdbroker_wire::version2::{Inspected, Report};

use self::page::Page;
use super::answer::Answer;
use super::context::{Outcome, RequestContext};
use super::decision::Requester;
use super::place::Place;
use crate::worker::limits::loop_time::Turn;
use crate::worker::state::Worker;

/// Answers INSPECT. What changes between two answers may be told or not.
pub(crate) async fn inspect(
    worker: &Worker,
    requester: &Requester,
    turn: &Turn,
    (what, after): (Inspected, u64),
) -> Answer {
    let rules = worker.policy.now();
    let context = RequestContext::new(worker, &rules, requester, Right::Inspect, Place::broker());
    context.count(1);
    if !context.decision.granted {
        return context.fail(context.refused());
    }
    let page = match what {
        Inspected::Slots => slots::page(worker, turn, after).await,
        Inspected::Sessions => sessions::page(worker, after),
        Inspected::Users => users::page(worker, after),
    };
    let Page { text, lines } = page;
    let told = match what {
        Inspected::Slots => format!("slots shown: {lines}"),
        Inspected::Sessions => format!("sessions shown: {lines}"),
        Inspected::Users => format!("users shown: {lines}"),
    };
    context.finish(Outcome::Told(Answer::Report(Report { error: None, text }), told))
}
