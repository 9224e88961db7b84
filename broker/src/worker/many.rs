//! Many slots of a tag in one request: each is decided, recorded and done like one of its own.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use fdbroker_policy::Right;
use fdbroker_wire::many::{DEPOSIT_HEAD, Deposit as Entry, ManyAnswer, ManyRequest, ROOM};
use fdbroker_wire::{Add, Errno, Index, Slot, Tag};

use super::answer::Answer;
use super::case::Case;
use super::decision::Requester;
use super::deposit::Deposit;
use super::holder::Holder;
use super::outbox::Outbox;
use super::place::Place;
use super::request::Escrow;
use super::session::Session;
use super::{Brought, Worker, escrow};

/// What was got of some slots.
pub(super) struct Got {
    tag: Tag,
    outcomes: Vec<Result<Found, (Index, Errno)>>,
    /// To be deleted when they have been sent.
    taken: Vec<Taken>,
    requester: Requester,
    holder: Rc<Holder>,
}

/// What was found in a slot.
enum Found {
    Deposit(Rc<Deposit>),
    Resource(Slot, Brought),
}

/// Slots that are being taken: they are empty for everybody else until it is known whether the
/// answer was sent. If this worker dies before that, they are as they were.
#[derive(Default)]
pub(super) struct Taking(Rc<RefCell<HashSet<Slot>>>);

/// A deposit that is being taken, until this is dropped.
struct Taken {
    deposit: Rc<Deposit>,
    taking: Rc<RefCell<HashSet<Slot>>>,
}

impl Taking {
    /// Whether what lies in a slot is being taken.
    pub(super) fn has(&self, slot: Slot) -> bool {
        let slots = self.0.borrow();
        !slots.is_empty() && slots.contains(&slot)
    }

    fn begin(&self, deposit: &Rc<Deposit>) -> Taken {
        self.0.borrow_mut().insert(deposit.slot);
        Taken { deposit: Rc::clone(deposit), taking: Rc::clone(&self.0) }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.taking.borrow_mut().remove(&self.deposit.slot);
    }
}

/// Serves a request; none when the peer has left while it waited, or the supervisor has gone.
pub(super) async fn serve(
    worker: &Worker,
    session: &mut Session,
    requester: Requester,
    request: ManyRequest<Brought>,
) -> Option<Answer> {
    match request {
        ManyRequest::Get { tag, indices, take } => {
            let got = get(worker, session, requester, tag, &indices, take).await?;
            Some(Answer::Got(got))
        }
        ManyRequest::Add { tag, deposits } => {
            let mut outcomes = Vec::with_capacity(deposits.len());
            for Entry { index, ufd, payload, descriptor } in deposits {
                let add = Add { slot: Slot { tag, index }, ufd, payload, descriptor };
                let answer = escrow::serve(worker, session, &requester, Escrow::Add(add)).await?;
                outcomes.push(done(&answer));
            }
            Some(Answer::DoneMany(tag, outcomes))
        }
        ManyRequest::Del { tag, indices } => {
            let mut outcomes = Vec::with_capacity(indices.len());
            for index in indices {
                let del = Escrow::Del(Slot { tag, index });
                outcomes.push(done(&escrow::serve(worker, session, &requester, del).await?));
            }
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

/// Gets slot by slot, as long as there is room in the answer.
async fn get(
    worker: &Worker,
    session: &mut Session,
    requester: Requester,
    tag: Tag,
    indices: &[Index],
    take: bool,
) -> Option<Got> {
    let (mut outcomes, mut taken) = (Vec::with_capacity(indices.len()), Vec::new());
    let mut room = ROOM;
    for &index in indices {
        let slot = Slot { tag, index };
        let size = DEPOSIT_HEAD + payload_of(worker, slot);
        // The first always has room: see the limit of a payload.
        if size > room && !outcomes.is_empty() {
            break;
        }
        room = room.saturating_sub(DEPOSIT_HEAD);
        if take && let Err(errno) = may_take(worker, &requester, &session.holder, slot) {
            outcomes.push(Err((index, errno)));
            continue;
        }
        let outcome = match escrow::serve(worker, session, &requester, Escrow::Get(slot)).await? {
            Answer::Deposit(deposit) => {
                // As it is now: it may have been replaced while this waited for its turn.
                room = room.saturating_sub(deposit.payload.len());
                taken.extend(take.then(|| worker.taking.begin(&deposit)));
                Ok(Found::Deposit(deposit))
            }
            Answer::Resource(slot, descriptor) => Ok(Found::Resource(slot, descriptor)),
            Answer::Failed(errno, _) => Err((index, errno)),
            _ => Err((index, Errno::IO)),
        };
        outcomes.push(outcome);
    }
    let holder = Rc::clone(&session.holder);
    Some(Got { tag, outcomes, taken, requester, holder })
}

fn payload_of(worker: &Worker, slot: Slot) -> usize {
    worker.slots.borrow().get(slot).map_or(0, |deposit| deposit.payload.len())
}

/// Whether a peer may delete what it wants to take, which it must before it is given it.
fn may_take(
    worker: &Worker,
    requester: &Requester,
    holder: &Holder,
    slot: Slot,
) -> Result<(), Errno> {
    let rules = worker.in_force.now();
    let place = Place::slot(&rules.policy, slot);
    let case = Case::new(worker, &rules, requester, Right::Del, place);
    let before = worker.slots.borrow().get(slot).cloned();
    let may = escrow::may(&case, &Escrow::Del(slot))
        .and_then(|()| escrow::fence(&case, holder))
        .and_then(|()| escrow::may_change(&case, before.as_deref()));
    may.map_err(|failure| {
        let errno = failure.errno;
        // Only for its record.
        drop(case.fail(failure));
        errno
    })
}

impl Got {
    /// Sends it.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub(super) async fn send(&self, outbox: &mut Outbox) -> io::Result<()> {
        let outcomes = self.outcomes.iter().map(|outcome| match outcome {
            Ok(found) => Ok(found.entry()),
            Err(nothing) => Err(*nothing),
        });
        let answer = ManyAnswer::Got { tag: self.tag, outcomes: outcomes.collect() };
        let message = answer.into_extended();
        outbox.send(&message.head(), &message.body, &message.descriptors).await
    }

    /// Deletes what was to be taken, now that it has been sent; none when the supervisor has gone.
    pub(super) async fn sent(self, worker: &Worker) -> Option<()> {
        for taken in self.taken {
            escrow::take(worker, &self.requester, &self.holder, &taken.deposit).await?;
        }
        Some(())
    }
}

impl Found {
    fn entry(&self) -> Entry<BorrowedFd<'_>> {
        match self {
            Self::Deposit(deposit) => Entry {
                index: deposit.slot.index,
                ufd: deposit.ufd,
                payload: deposit.payload.clone(),
                descriptor: deposit.descriptor.as_ref().and_then(Brought::descriptor),
            },
            // No process deposited it: 0 stands for the number it had.
            Self::Resource(slot, opened) => Entry {
                index: slot.index,
                ufd: 0,
                payload: Vec::new(),
                descriptor: opened.descriptor(),
            },
        }
    }
}
