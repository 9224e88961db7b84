//! What one request gets of many slots, from the first slot until it has been sent.

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use fdbroker_wire::many::{DEPOSIT_HEAD, Deposit as ManyDeposit, ManyAnswer, ROOM};
use fdbroker_wire::{Index, Opened, Slot, Tag};

use super::decision::Requester;
use super::error::Denial;
use super::place::Place;
use crate::fd::PeerFd;
use crate::opening_cost::OpeningCost;
use crate::worker::ownership::participant::Participant;
use crate::worker::peer::outbox::Outbox;
use crate::worker::policy::active::Rules;
use crate::worker::state::Worker;
use crate::worker::store::deposit::Deposit;
use crate::worker::store::pending_take::Reservation;

/// The answer to GET_MANY.
pub(crate) struct BatchReply {
    tag: Tag,
    outcomes: Vec<Result<Found, (Index, Denial)>>,
    /// To be committed once the answer has been sent.
    pub(crate) takes: Takes,
}

/// What a peer is given to keep: it leaves its slots once the answer has been sent.
pub(crate) struct Takes {
    pub(crate) tag: Tag,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) requester: Requester,
    pub(crate) participant: Rc<Participant>,
    /// By which it was decided.
    pub(crate) rules: Rc<Rules>,
}

/// The outcomes so far.
pub(crate) struct BatchBuilder {
    outcomes: Vec<Result<Found, (Index, Denial)>>,
    /// To be deleted when they have been sent.
    taken: Vec<Reservation>,
    /// How many bytes there are left.
    room: usize,
    /// How many descriptors there are, and how many there may be.
    descriptors: usize,
    most: usize,
    /// Something found no room.
    full: bool,
}

/// How many outcomes there were, to come back to.
#[derive(Clone, Copy)]
pub(crate) struct Checkpoint {
    outcomes: usize,
    taken: usize,
}

/// What was found in a slot.
pub(crate) enum Found {
    Deposit(Rc<Deposit>),
    /// Apart, since there are few of them.
    Resource(Index, Box<Opened<PeerFd>>),
}

impl BatchBuilder {
    /// For so many slots, with at most so many descriptors.
    pub(crate) fn new(number: usize, most: usize) -> Self {
        let outcomes = Vec::with_capacity(number);
        Self { outcomes, taken: Vec::new(), room: ROOM, descriptors: 0, most, full: false }
    }

    /// From now on there may be so many descriptors, beside those that it has.
    pub(crate) fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Leaves out what comes after so many descriptors, but never the first slot. It is there for the next
    /// request.
    pub(crate) fn cut(&mut self, most: usize) {
        let mut descriptors = 0;
        let mut has_room = |outcome: &Result<Found, _>| {
            descriptors += outcome.as_ref().map_or(0, Found::descriptors);
            descriptors <= most
        };
        let kept =
            self.outcomes.iter().map_while(|outcome| has_room(outcome).then_some(())).count();
        self.outcomes.truncate(kept.max(1));
        let outcomes = &self.outcomes;
        let is_kept = |taken: &Reservation| {
            let mut found = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok());
            found.any(|found| found.index() == taken.deposit.slot.index)
        };
        self.taken.retain(is_kept);
    }

    /// What of a question has no outcome yet.
    pub(crate) fn rest<'i>(&self, indices: &'i [Index]) -> &'i [Index] {
        indices.get(self.outcomes.len()..).unwrap_or_default()
    }

    /// Whether something had no room: then nothing that comes later has.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether there is room for a deposit with a payload of this size. The first always has: see
    /// the limit of a payload.
    pub(crate) fn has_room(&mut self, payload: usize) -> bool {
        let fits = DEPOSIT_HEAD + payload <= self.room && self.descriptors < self.most;
        self.full |= !fits && !self.outcomes.is_empty();
        !self.full
    }

    /// Whether the resource in a slot, if there is one, may be opened beside the results so far.
    /// The first one always may be tried.
    ///
    /// A resource that was opened for this answer counts towards its user's share of the descriptor
    /// table until it has been sent.
    pub(crate) fn has_room_to_open(
        &mut self,
        worker: &Worker,
        requester: &Requester,
        slot: Slot,
    ) -> bool {
        let is_full = || {
            let rules = worker.policy.now();
            let resource = Place::slot(&rules.policy, slot).resource;
            resource.is_some_and(|(_, resource)| {
                let cost = OpeningCost::of(resource);
                worker.quotas.may_open(requester.payer(), cost).is_err()
            })
        };
        self.full |= !self.outcomes.is_empty() && is_full();
        !self.full
    }

    /// How many descriptors there are.
    pub(crate) fn descriptors(&self) -> usize {
        self.outcomes.iter().flatten().map(Found::descriptors).sum()
    }

    /// Whether no slot has an outcome yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// How much there is.
    pub(crate) fn mark(&self) -> Checkpoint {
        Checkpoint { outcomes: self.outcomes.len(), taken: self.taken.len() }
    }

    /// Adds the deposit of a slot.
    pub(crate) fn deposit(&mut self, deposit: Rc<Deposit>, taken: Option<Reservation>) {
        self.taken.extend(taken);
        self.push(deposit.payload.len(), Ok(Found::Deposit(deposit)));
    }

    /// Adds a resource that was opened.
    pub(crate) fn resource(&mut self, slot: Slot, opened: Box<Opened<PeerFd>>) {
        self.push(opened.payload().len(), Ok(Found::Resource(slot.index, opened)));
    }

    /// Adds that nothing came of a slot.
    pub(crate) fn nothing(&mut self, index: Index, denial: Denial) {
        self.push(0, Err((index, denial)));
    }

    /// Returns the answer, and what it takes.
    pub(crate) fn finish(
        self,
        tag: Tag,
        requester: Requester,
        participant: Rc<Participant>,
        rules: Rc<Rules>,
    ) -> BatchReply {
        let Self { outcomes, taken: reservations, .. } = self;
        let takes = Takes { tag, reservations, requester, participant, rules };
        BatchReply { tag, outcomes, takes }
    }

    /// Returns the outcome of the only slot. It has one: the first always has room.
    pub(crate) fn into_only(mut self) -> Result<Found, Denial> {
        self.outcomes.pop().ok_or(Denial::ABSENT)?.map_err(|(_, denial)| denial)
    }

    fn push(&mut self, payload: usize, outcome: Result<Found, (Index, Denial)>) {
        self.room = self.room.saturating_sub(DEPOSIT_HEAD + payload);
        self.descriptors += outcome.as_ref().map_or(0, Found::descriptors);
        self.outcomes.push(outcome);
    }

    /// Replaces every deposit and resource that was added since `mark` by `denial`.
    pub(crate) fn withhold(&mut self, mark: Checkpoint, denial: &Denial) {
        self.taken.truncate(mark.taken);
        for outcome in self.outcomes.iter_mut().skip(mark.outcomes) {
            if let Ok(found) = outcome {
                *outcome = Err((found.index(), denial.clone()));
            }
        }
    }
}

impl BatchReply {
    /// Sends it.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub(crate) async fn send(&self, outbox: &mut Outbox) -> io::Result<()> {
        let outcomes = self.outcomes.iter().map(|outcome| match outcome {
            Ok(found) => Ok(found.entry()),
            Err((index, denial)) => Err((*index, denial.errno)),
        });
        let answer = ManyAnswer::Got { tag: self.tag, outcomes: outcomes.collect() };
        let message = answer.into_extended();
        outbox.send(&message.head(), &message.body, &message.descriptors).await?;
        self.outcomes.iter().flatten().for_each(Found::set_handed_out);
        Ok(())
    }
}

impl Found {
    fn descriptors(&self) -> usize {
        match self {
            Self::Deposit(deposit) => usize::from(deposit.descriptor.is_some()),
            Self::Resource(_, opened) => opened.descriptors().count(),
        }
    }

    /// A connection has reached its caller, and is not to end with what the broker has of it.
    fn set_handed_out(&self) {
        if let Self::Resource(_, opened) = self {
            opened.descriptor().shut_when_closed(false);
        }
    }

    fn index(&self) -> Index {
        match self {
            Self::Deposit(deposit) => deposit.slot.index,
            Self::Resource(index, _) => *index,
        }
    }

    fn entry(&self) -> ManyDeposit<BorrowedFd<'_>, &[u8]> {
        match self {
            Self::Deposit(deposit) => ManyDeposit {
                index: deposit.slot.index,
                ufd: deposit.ufd,
                payload: &deposit.payload,
                descriptor: deposit.descriptor.as_ref().and_then(PeerFd::descriptor),
            },
            // No process deposited it: 0 stands for the number it had.
            Self::Resource(index, opened) => ManyDeposit {
                index: *index,
                ufd: 0,
                payload: opened.payload(),
                descriptor: opened.descriptor().descriptor(),
            },
        }
    }
}
