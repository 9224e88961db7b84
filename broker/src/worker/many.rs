//! Many slots of a tag in one request: each is decided and done like one of its own, and recorded
//! before it is answered.

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use fdbroker_policy::Right;
use fdbroker_wire::many::{DEPOSIT_HEAD, Deposit as Entry, ManyAnswer, ManyRequest, ROOM};
use fdbroker_wire::{Add, Errno, Index, MAX_PAYLOAD, Slot, Tag};

use super::answer::{Answer, Failure};
use super::case::Case;
use super::decision::Requester;
use super::deposit::Deposit;
use super::holder::Holder;
use super::limits::loop_time::Turn;
use super::outbox::Outbox;
use super::place::Place;
use super::request::Escrow;
use super::runs::Question;
use super::session::Session;
use super::state::Worker;
use super::taking::Taken;
use super::{escrow, runs, takers};
use crate::fd::PeerFd;

/// What was got of some slots.
pub(super) struct Got {
    tag: Tag,
    gathered: Gathered,
    requester: Requester,
    holder: Rc<Holder>,
}

/// What has been got so far.
pub(super) struct Gathered {
    outcomes: Vec<Result<Found, (Index, Errno)>>,
    /// To be deleted when they have been sent.
    taken: Vec<Taken>,
    /// How many bytes there are left.
    room: usize,
    /// Something found no room.
    full: bool,
}

/// How much has been got, to come back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    outcomes: usize,
    taken: usize,
}

/// What was found in a slot.
enum Found {
    Deposit(Rc<Deposit>),
    /// Apart, since there are few of them.
    Resource(Box<(Slot, PeerFd)>),
}

/// Serves a request; none when the peer has left while it waited, or the supervisor has gone.
pub(super) async fn serve(
    worker: &Worker,
    session: &mut Session,
    requester: Requester,
    request: ManyRequest<PeerFd>,
) -> Option<Answer> {
    match request {
        ManyRequest::Get { tag, indices, take } => {
            let got = get(worker, session, requester, tag, &indices, take).await?;
            takers::announce(worker, tag, &got.gathered.taken, &got.holder).await?;
            Some(Answer::Got(got))
        }
        ManyRequest::Add { tag, deposits } => {
            let mut outcomes = Vec::with_capacity(deposits.len());
            for Entry { index, ufd, payload, descriptor } in deposits {
                session.turn.take().await;
                let add = Add { slot: Slot { tag, index }, ufd, payload, descriptor };
                let answer = escrow::serve(worker, session, &requester, Escrow::Add(add)).await?;
                outcomes.push(done(&answer));
            }
            session.pause(worker, requester.pause()).await?;
            Some(Answer::DoneMany(tag, outcomes))
        }
        ManyRequest::Del { tag, indices } => {
            let mut outcomes = Vec::with_capacity(indices.len());
            for index in indices {
                session.turn.take().await;
                let del = Escrow::Del(Slot { tag, index });
                outcomes.push(done(&escrow::serve(worker, session, &requester, del).await?));
            }
            session.pause(worker, requester.pause()).await?;
            Some(Answer::DoneMany(tag, outcomes))
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
) -> Option<Got> {
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
        if take && let Err(errno) = may_be_taken(worker, &requester, &session.holder, slot) {
            gathered.nothing(index, errno);
            continue;
        }
        session.turn.take().await;
        let answer = escrow::serve(worker, session, &requester, Escrow::Get(slot)).await?;
        had_its_turn = matches!(answer, Answer::Deposit(_));
        if take
            && had_its_turn
            && let Err(errno) = may_still(worker, &requester, &session.holder, slot)
        {
            gathered.nothing(index, errno);
            continue;
        }
        match answer {
            Answer::Deposit(deposit) => {
                let taken = take.then(|| worker.taking.begin(&deposit, &session.holder));
                gathered.deposit(deposit, taken);
            }
            Answer::Resource(slot, opened) => gathered.resource(slot, opened),
            Answer::Failed(errno, _) => gathered.nothing(index, errno),
            _ => gathered.nothing(index, Errno::IO),
        }
    }
    session.pause(worker, requester.pause()).await?;
    let holder = Rc::clone(&session.holder);
    Some(Got { tag, gathered, requester, holder })
}

/// Whether a peer may take what is in a slot that has to be waited for; if not, that is recorded.
fn may_be_taken(
    worker: &Worker,
    requester: &Requester,
    holder: &Holder,
    slot: Slot,
) -> Result<(), Errno> {
    let rules = worker.in_force.now();
    let case = Case::new(worker, &rules, requester, Right::Del, Place::slot(&rules.policy, slot));
    let before = worker.slots.borrow().get(slot).cloned();
    may_take(&case, holder, slot, before.as_deref()).map_err(|failure| recorded(&case, failure))
}

/// Whether it may when its turn has come: that may be a claimant's, who changes nothing.
fn may_still(
    worker: &Worker,
    requester: &Requester,
    holder: &Holder,
    slot: Slot,
) -> Result<(), Errno> {
    let rules = worker.in_force.now();
    let case = Case::new(worker, &rules, requester, Right::Del, Place::slot(&rules.policy, slot));
    escrow::fence_in_turn(&case, holder).map_err(|failure| recorded(&case, failure))
}

fn recorded(case: &Case<'_>, failure: Failure) -> Errno {
    let errno = failure.errno;
    // Only for its record.
    drop(case.fail(failure));
    errno
}

/// Whether a peer may delete what it wants to take, which it must before it is given it.
pub(super) fn may_take(
    case: &Case<'_>,
    holder: &Holder,
    slot: Slot,
    before: Option<&Deposit>,
) -> Result<(), Failure> {
    escrow::may(case, &Escrow::Del(slot))?;
    escrow::fence(case, holder)?;
    escrow::may_change(case, before)
}

impl Gathered {
    fn new(number: usize) -> Self {
        Self { outcomes: Vec::with_capacity(number), taken: Vec::new(), room: ROOM, full: false }
    }

    /// What of a question has no outcome yet.
    fn rest<'i>(&self, indices: &'i [Index]) -> &'i [Index] {
        indices.get(self.outcomes.len()..).unwrap_or_default()
    }

    /// Whether something had no room: then nothing that comes later has.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether there is room for a deposit with a payload of this size. The first always has: see
    /// the limit of a payload.
    pub(super) fn has_room(&mut self, payload: usize) -> bool {
        self.full |= DEPOSIT_HEAD + payload > self.room && !self.outcomes.is_empty();
        !self.full
    }

    /// Whether what lies in a slot may be opened beside what has been got; the first always may be tried. What
    /// has been opened for this answer takes its user's share of the table until that has been sent.
    fn has_room_to_open(&mut self, worker: &Worker, requester: &Requester, slot: Slot) -> bool {
        let opens = Place::slot(&worker.in_force.now().policy, slot).resource.is_some();
        let full = || worker.quotas.may_open(requester.connection().uid).is_err();
        self.full |= opens && !self.outcomes.is_empty() && full();
        !self.full
    }

    /// How much there is.
    pub(super) fn mark(&self) -> Mark {
        Mark { outcomes: self.outcomes.len(), taken: self.taken.len() }
    }

    /// Adds what lies in a slot.
    pub(super) fn deposit(&mut self, deposit: Rc<Deposit>, taken: Option<Taken>) {
        self.taken.extend(taken);
        self.push(deposit.payload.len(), Ok(Found::Deposit(deposit)));
    }

    fn resource(&mut self, slot: Slot, opened: PeerFd) {
        self.push(0, Ok(Found::Resource(Box::new((slot, opened)))));
    }

    /// Adds that nothing came of a slot.
    pub(super) fn nothing(&mut self, index: Index, errno: Errno) {
        self.push(0, Err((index, errno)));
    }

    fn push(&mut self, payload: usize, outcome: Result<Found, (Index, Errno)>) {
        self.room = self.room.saturating_sub(DEPOSIT_HEAD + payload);
        self.outcomes.push(outcome);
    }

    /// Gives nothing of what has been added since `mark`.
    pub(super) fn withhold(&mut self, mark: Mark, errno: Errno) {
        self.taken.truncate(mark.taken);
        for outcome in self.outcomes.iter_mut().skip(mark.outcomes) {
            if let Ok(found) = outcome {
                *outcome = Err((found.index(), errno));
            }
        }
    }
}

impl Got {
    /// It could not be sent: what was to be taken stays, for everybody; none when the supervisor has
    /// gone.
    pub(super) async fn not_sent(self, worker: &Worker) -> Option<()> {
        takers::call_off(worker, self.tag, &self.gathered.taken).await
    }

    /// Sends it.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub(super) async fn send(&self, outbox: &mut Outbox) -> io::Result<()> {
        let outcomes = self.gathered.outcomes.iter().map(|outcome| match outcome {
            Ok(found) => Ok(found.entry()),
            Err(nothing) => Err(*nothing),
        });
        let answer = ManyAnswer::Got { tag: self.tag, outcomes: outcomes.collect() };
        let message = answer.into_extended();
        outbox.send(&message.head(), &message.body, &message.descriptors).await
    }

    /// Deletes what was to be taken, now that it has been sent; none when the supervisor has gone.
    pub(super) async fn sent(self, worker: &Worker, turn: &Turn) -> Option<()> {
        for taken in self.gathered.taken {
            turn.take().await;
            escrow::take(worker, &self.requester, &self.holder, &taken).await?;
        }
        Some(())
    }
}

impl Found {
    fn index(&self) -> Index {
        match self {
            Self::Deposit(deposit) => deposit.slot.index,
            Self::Resource(resource) => resource.0.index,
        }
    }

    fn entry(&self) -> Entry<BorrowedFd<'_>, &[u8]> {
        match self {
            Self::Deposit(deposit) => Entry {
                index: deposit.slot.index,
                ufd: deposit.ufd,
                payload: &deposit.payload,
                descriptor: deposit.descriptor.as_ref().and_then(PeerFd::descriptor),
            },
            // No process deposited it: 0 stands for the number it had.
            Self::Resource(resource) => {
                let (slot, opened) = &**resource;
                Entry { index: slot.index, ufd: 0, payload: &[], descriptor: opened.descriptor() }
            }
        }
    }
}
