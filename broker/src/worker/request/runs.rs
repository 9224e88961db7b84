//! Runs: neighbouring slots that one request gets, and of which the policy says the same. They are
//! decided once; and of those among them of which the same came there is one record.
//!
//! Nothing is waited for here: resources, and tags that have to be waited for, are left to
//! [`super::get`].

use std::rc::Rc;

use fdbroker_policy::Right;
use fdbroker_wire::{Index, Slot, Tag};

use super::admission::{check_ownership, must_wait};
use super::batch::{BatchBuilder, Checkpoint};
use super::context::RequestContext;
use super::decision::Requester;
use super::error::{Denial, Failure};
use super::place::Place;
use super::slots::may_change;
use crate::audit::NotRecorded;
use crate::log::{Kind, Verdict};
use crate::worker::ownership::participant::Participant;
use crate::worker::peer::session::Session;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;
use crate::worker::store::deposit::Deposit;
use crate::worker::store::pending_take::Reservation;
use crate::worker::supervisor_link::at_hand;

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) requester: &'a Requester,
    pub(crate) session: &'a Session,
    pub(crate) tag: Tag,
    /// Whether what is given is to be deleted.
    pub(crate) take: bool,
}

/// Gets slots from the front of `indices`, until one has to be waited for, or the answer is full; `false`
/// if it only stopped because its user has used up its time on the event loop.
pub(crate) fn get(
    worker: &Worker,
    question: Question<'_>,
    indices: &[Index],
    batch: &mut BatchBuilder,
) -> bool {
    let rules = worker.policy.now();
    let participant = &question.session.participant;
    let mut runs = Runs { worker, question, decided: None, run: None, looked: false, stops: false };
    let mut rest = indices;
    while let Some(first) = rest.first().map(|index| Slot { tag: question.tag, index: *index }) {
        let place = Place::slot(&rules.policy, first);
        let waits = place.resource.is_some() || must_wait(worker, participant, &place);
        if batch.is_full() || waits {
            break;
        }
        let (alike, others) = rest.split_at(alike(&rules, question.tag, rest));
        runs.decide(&rules, place, alike.len(), batch);
        let last = alike.last().copied().unwrap_or(first.index);
        let slots = worker.slots.borrow();
        let deposits = runs.finds().then(|| slots.run(first, last));
        runs.look_through(alike, deposits.into_iter().flatten(), batch);
        if runs.stops {
            runs.record(batch);
            return false;
        }
        rest = others;
    }
    runs.record(batch);
    true
}

/// How many from the front are decided alike. A single slot costs no look at the policy.
fn alike(rules: &Rules, tag: Tag, indices: &[Index]) -> usize {
    match indices {
        [index, _, ..] => {
            neighbours(indices, rules.policy.alike_until(Slot { tag, index: *index }))
        }
        _ => indices.len(),
    }
}

/// How many from the front follow each other without a gap, none of them behind `last`; at least one.
fn neighbours(indices: &[Index], last: Index) -> usize {
    let follows = |pair: &&[Index]| pair[1] <= last && pair[0].next() == Some(pair[1]);
    1 + indices.windows(2).take_while(follows).count()
}

/// Checks whether a peer may delete what it wants to take, which it must before it is given it.
///
/// # Errors
/// Why not.
pub(crate) fn may_take(
    context: &RequestContext<'_>,
    participant: &Participant,
    before: Option<&Deposit>,
) -> Result<(), Failure> {
    context.may()?;
    check_ownership(context, participant)?;
    may_change(context, before)
}

/// Whether a deposit is there for others: not while it is being taken, unless the tag is being taken
/// over from its taker, or has been; then it stays. What another process may have been given by a worker
/// that died is kept for that one.
fn shows(worker: &Worker, participant: &Participant, deposit: &Rc<Deposit>) -> bool {
    if worker.taking.is_kept_from(deposit.slot, participant) {
        return false;
    }
    let taker = worker.taking.taker(deposit);
    taker.is_none_or(|taker| {
        worker.ownership.check_ownership(&taker, deposit.slot.tag, true, false).is_err()
    })
}

/// The decisions, and the run that has not been recorded yet.
struct Runs<'a> {
    worker: &'a Worker,
    question: Question<'a>,
    decided: Option<Decided<'a>>,
    run: Option<Run>,
    /// Whether any slot has been looked at.
    looked: bool,
    /// Its user has used up its time on the event loop, and another run begins.
    stops: bool,
}

/// What the policy says.
struct Decided<'a> {
    get: RequestContext<'a>,
    /// Where it is to be taken.
    del: Option<RequestContext<'a>>,
}

/// Slots of which the same came. If that is a refusal, others may lie between them, and they are in
/// any order: what is refused tells nothing about a slot.
struct Run {
    first: Slot,
    last: Index,
    slots: u32,
    /// Whether these are all slots from the first to the last.
    whole: bool,
    came: Result<(), Nothing>,
    /// Where in the answer it begins.
    start: Checkpoint,
}

/// Why nothing came of a slot.
#[derive(PartialEq)]
enum Nothing {
    /// The policy does not allow it.
    Refused,
    /// There is nothing.
    Absent,
    /// It may not be deleted, and so not be taken.
    NotTaken(Failure),
}

impl<'a> Runs<'a> {
    /// Decides about slots that are alike. A run goes on in them if the same is decided as before.
    fn decide(
        &mut self,
        rules: &'a Rules,
        place: Place<'a>,
        number: usize,
        batch: &mut BatchBuilder,
    ) {
        let Question { requester, take, .. } = self.question;
        let del =
            take.then(|| RequestContext::new(self.worker, rules, requester, Right::Del, place));
        let get = RequestContext::new(self.worker, rules, requester, Right::Get, place);
        get.count(number);
        let before = self.decided.as_ref().filter(|before| before.del.is_none() && del.is_none());
        if before.is_none_or(|before| before.get.decision != get.decision) {
            self.record(batch);
            self.decided = Some(Decided { get, del });
        }
    }

    /// Whether the deposits make a difference to the answer. If they do not, they are not looked
    /// up, since that takes longer the more there are.
    fn finds(&self) -> bool {
        self.decided.as_ref().is_some_and(|decided| decided.get.decision.granted)
    }

    /// Adds the deposits of slots that are alike to the answer, as long as there is room.
    fn look_through<'d>(
        &mut self,
        indices: &[Index],
        deposits: impl Iterator<Item = &'d Rc<Deposit>>,
        batch: &mut BatchBuilder,
    ) {
        let mut deposits = deposits.peekable();
        for &index in indices {
            let slot = Slot { tag: self.question.tag, index };
            let there = deposits.next_if(|deposit| deposit.slot == slot);
            let found = at_hand::on(slot, || self.look(there));
            if !batch.has_room(found.as_ref().map_or(0, |deposit| deposit.payload.len())) {
                return;
            }
            self.stops = self.must_stop_before(slot, found.as_ref().map(|_| &()));
            if self.stops {
                return;
            }
            self.looked = true;
            match found {
                Ok(deposit) => {
                    self.join(slot, Ok(()), batch);
                    at_hand::on(slot, || {
                        let taken = self.taken(&deposit);
                        batch.deposit(deposit, taken);
                    });
                }
                Err(nothing) => {
                    let denial = nothing.denial();
                    self.join(slot, Err(nothing), batch);
                    batch.nothing(index, denial);
                }
            }
        }
    }

    /// Returns the deposit of a slot if the peer may get it, or why there is none.
    fn look(&self, there: Option<&Rc<Deposit>>) -> Result<Rc<Deposit>, Nothing> {
        let Some(Decided { get, del }) = &self.decided else { return Err(Nothing::Refused) };
        if let Some(del) = del {
            may_take(del, &self.question.session.participant, there.map(Rc::as_ref))
                .map_err(Nothing::NotTaken)?;
        }
        if !get.decision.granted {
            return Err(Nothing::Refused);
        }
        let there =
            there.filter(|deposit| shows(self.worker, &self.question.session.participant, deposit));
        there.map(Rc::clone).ok_or(Nothing::Absent)
    }

    fn taken(&self, deposit: &Rc<Deposit>) -> Option<Reservation> {
        self.question
            .take
            .then(|| self.worker.taking.begin(deposit, &self.question.session.participant))
    }

    /// Whether others have their turn first. A run is never cut in two for that: it is one record.
    fn must_stop_before(&self, slot: Slot, came: Result<&(), &Nothing>) -> bool {
        self.looked && !self.continues(slot, came) && self.question.session.turn.is_spent()
    }

    /// Whether a slot belongs to the run.
    fn continues(&self, slot: Slot, came: Result<&(), &Nothing>) -> bool {
        let refused = came == Err(&Nothing::Refused);
        self.run
            .as_ref()
            .is_some_and(|run| run.came.as_ref() == came && (refused || run.is_before(slot)))
    }

    /// Adds a slot to the run, or records that and begins the next one.
    fn join(&mut self, slot: Slot, came: Result<(), Nothing>, batch: &mut BatchBuilder) {
        if self.continues(slot, came.as_ref())
            && let Some(run) = &mut self.run
        {
            return run.add(slot);
        }
        self.record(batch);
        self.run = Some(Run::new(slot, came, batch.mark()));
    }

    /// Records the run, before anybody is told of it. What may not be given unrecorded is withheld.
    fn record(&mut self, batch: &mut BatchBuilder) {
        let (Some(run), Some(Decided { get, del })) = (self.run.take(), &self.decided) else {
            return;
        };
        let place = match run.whole {
            true => get.place.run(run.first, run.last),
            false => get.place.within(run.first, run.last, run.slots),
        };
        let (context, failure) = match run.came {
            Ok(()) => match get.record_as(&place, Kind::Decision, Verdict::Granted, "done") {
                Ok(()) => return,
                Err(NotRecorded) => {
                    let failure = Failure::unrecorded();
                    batch.withhold(run.start, &failure.denial);
                    (get, failure)
                }
            },
            Err(Nothing::Refused) => (get, get.refused()),
            Err(Nothing::Absent) => (get, Failure::absent()),
            Err(Nothing::NotTaken(failure)) => (del.as_ref().unwrap_or(get), failure),
        };
        // What is not done need not be recorded first.
        let _ = context.record_as(&place, Kind::Decision, failure.verdict, &failure.reason);
    }
}

impl Run {
    fn new(slot: Slot, came: Result<(), Nothing>, start: Checkpoint) -> Self {
        Self { first: slot, last: slot.index, slots: 1, whole: true, came, start }
    }

    fn is_before(&self, slot: Slot) -> bool {
        self.last.next() == Some(slot.index)
    }

    fn add(&mut self, slot: Slot) {
        self.whole &= self.is_before(slot);
        self.slots = self.slots.saturating_add(1);
        self.first = self.first.min(slot);
        self.last = self.last.max(slot.index);
    }
}

impl Nothing {
    /// What is answered.
    fn denial(&self) -> Denial {
        match self {
            Self::Refused => Denial::REFUSED,
            Self::Absent => Denial::ABSENT,
            Self::NotTaken(failure) => failure.denial.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fdbroker_wire::Index;

    use super::neighbours;

    fn together(indices: &[i32], last: i32) -> usize {
        let index = |number: &i32| Index::new(*number).unwrap();
        let indices: Vec<_> = indices.iter().map(index).collect();
        neighbours(&indices, index(&last))
    }

    #[test]
    fn slots_are_neighbours_as_long_as_they_ascend_without_a_gap() {
        assert_eq!(together(&[3, 4, 5, 7], 100), 3);
        assert_eq!(together(&[3, 3, 4], 100), 1);
        assert_eq!(together(&[3, 2, 1], 100), 1);
        assert_eq!(together(&[3], 100), 1);
        assert_eq!(together(&[i32::MAX - 1, i32::MAX, 0], i32::MAX), 2);
    }

    #[test]
    fn what_is_not_alike_is_no_neighbour() {
        assert_eq!(together(&[3, 4, 5], 4), 2);
        assert_eq!(together(&[3, 4, 5], 3), 1);
    }
}
