//! A request being decided: who asks for what, under which policy; and what is recorded of it.

use std::borrow::Cow;
use std::time::Instant;

use fdbroker_policy::Right;
use fdbroker_wire::Opened;

use super::answer::Answer;
use super::decision::{Decision, Requester};
use super::error::{Denial, Failure};
use super::place::Place;
use crate::audit::NotRecorded;
use crate::log::{HandedOut, Kind, Record, Verdict};
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;

/// One request, decided.
pub(crate) struct RequestContext<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) rules: &'a Rules,
    pub(crate) requester: &'a Requester,
    pub(crate) place: Place<'a>,
    pub(crate) decision: Decision<'a>,
    right: Right,
}

/// The result of a request.
pub(crate) enum Outcome {
    /// To be recorded, and answered.
    Done(Answer),
    /// The same, for what must be recorded in words of its own.
    Told(Answer, String),
    /// Recorded already, before it was done.
    Recorded(Answer),
    Failed(Failure),
}

impl<'a> RequestContext<'a> {
    /// Decides.
    pub(crate) fn new(
        worker: &'a Worker,
        rules: &'a Rules,
        requester: &'a Requester,
        right: Right,
        place: Place<'a>,
    ) -> Self {
        let decision = requester.decide(rules, right, place.target);
        Self::without_rule(worker, rules, requester, right, place).decided(right, decision)
    }

    /// Decides whether somebody may see how the broker is: that takes either right to the broker itself.
    pub(crate) fn to_see(worker: &'a Worker, rules: &'a Rules, requester: &'a Requester) -> Self {
        let context = Self::new(worker, rules, requester, Right::Inspect, Place::broker());
        if context.decision.granted { context } else { context.with_right(Right::Operate) }
    }

    /// One that takes no right.
    pub(crate) fn without_rule(
        worker: &'a Worker,
        rules: &'a Rules,
        requester: &'a Requester,
        right: Right,
        place: Place<'a>,
    ) -> Self {
        let decision = Decision { granted: true, rule: None, reason: String::new() };
        Self { worker, rules, requester, place, decision, right }
    }

    /// The same request, by another right to the same place.
    pub(crate) fn with_right(self, right: Right) -> Self {
        Self { decision: self.decide_also(right), right, ..self }
    }

    /// The same request, by another right that has been decided already, maybe about something else.
    pub(crate) fn decided(self, right: Right, decision: Decision<'a>) -> Self {
        Self { decision, right, ..self }
    }

    /// Counts so many requests by the rule that grants this one.
    pub(crate) fn count(&self, number: usize) {
        let counts = self.decision.granted && self.requester.counts();
        let rule = self.decision.rule.filter(|_| counts);
        let Some((rule, rate)) = rule.and_then(|rule| Some((rule, self.rules.rate_of(rule)?)))
        else {
            return;
        };
        let payer = self.requester.payer();
        let rates = &self.worker.rates;
        self.requester.hold_back(rates.reserve(payer, Some(rule), rate, number, Instant::now()));
    }

    /// What is asked for.
    pub(crate) fn right(&self) -> Right {
        self.right
    }

    /// Whether another right to the same place is granted.
    pub(crate) fn decide_also(&self, right: Right) -> Decision<'a> {
        self.requester.decide(self.rules, right, self.place.target)
    }

    /// Returns the refusal by the policy. The peer is told nothing about the slot.
    pub(crate) fn refused(&self) -> Failure {
        Failure::denied(&self.decision.reason)
    }

    /// Checks whether the policy grants the request.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn may(&self) -> Result<(), Failure> {
        if self.decision.granted { Ok(()) } else { Err(self.refused()) }
    }

    /// Records that the request is granted, before it is done.
    ///
    /// # Errors
    /// When it could not be recorded and must not be done.
    pub(crate) fn record_first(&self, reason: &str) -> Result<(), Failure> {
        self.record(Kind::Decision, Verdict::Granted, reason).map_err(|_| Failure::unrecorded())
    }

    /// The same of a resource that is about to be handed out: of a connection, which one it is.
    ///
    /// # Errors
    /// As [`Self::record_first`].
    pub(crate) fn record_handed_out<F>(&self, opened: &Opened<F>) -> Result<(), Failure> {
        let handed_out = HandedOut::of(opened);
        let record = self.describe(&self.place, Kind::Decision, Verdict::Granted, "done");
        let recorded = self.worker.audit.record(&Record { handed_out, ..record });
        recorded.map_err(|_| Failure::unrecorded())
    }

    /// Records something else that was done for the request.
    pub(crate) fn record(
        &self,
        kind: Kind,
        verdict: Verdict,
        reason: &str,
    ) -> Result<(), NotRecorded> {
        self.record_as(&self.place, kind, verdict, reason)
    }

    /// The same, of another place than the one that was asked for.
    pub(crate) fn record_as(
        &self,
        place: &Place<'_>,
        kind: Kind,
        verdict: Verdict,
        reason: &str,
    ) -> Result<(), NotRecorded> {
        self.worker.audit.record(&self.describe(place, kind, verdict, reason))
    }

    fn describe<'r>(
        &'r self,
        place: &'r Place<'_>,
        kind: Kind,
        verdict: Verdict,
        reason: &'r str,
    ) -> Record<'r> {
        let sender = self.requester.other_writer();
        Record {
            kind,
            right: self.right.name(),
            subject: place.subject(),
            name: place.name(),
            verdict,
            rule: self.decision.rule,
            sender: sender.map(|writer| (writer.uid, writer.gid, writer.pid)),
            reason,
            unit: self.requester.unit(),
            ..self.requester.connection().record()
        }
    }

    /// Records the result of the request, and returns its answer.
    ///
    /// A request that no rule grants is recorded as refused, whatever is answered: the number of
    /// records is limited for refusals only.
    pub(crate) fn finish(&self, outcome: Outcome) -> Answer {
        let (answer, reason) = match outcome {
            Outcome::Recorded(answer) => return answer,
            Outcome::Failed(failure) => return self.fail(failure),
            Outcome::Done(answer) => (answer, "done".into()),
            Outcome::Told(answer, reason) => (answer, Cow::Owned(reason)),
        };
        let verdict = if self.decision.granted { Verdict::Granted } else { Verdict::Refused };
        match self.record(Kind::Decision, verdict, &reason) {
            Err(NotRecorded) if self.decision.granted => self.fail(Failure::unrecorded()),
            _ => answer,
        }
    }

    /// Records that the request failed, and returns its answer.
    pub(crate) fn fail(&self, failure: Failure) -> Answer {
        Answer::Failed(self.deny(failure))
    }

    /// Records that the request failed, and returns what the peer is told of it.
    pub(crate) fn deny(&self, failure: Failure) -> Denial {
        // What is not done need not be recorded first.
        let _ = self.record(Kind::Decision, failure.verdict, &failure.reason);
        failure.denial
    }
}
