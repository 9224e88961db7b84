//! Deposits that are being taken: they are there for nobody else until it is known whether the answer
//! was sent.
//!
//! Before the answer goes, the supervisor is told who is about to be given them. If this worker dies
//! before it has deleted them, nobody knows whether the answer arrived. Then the next worker keeps
//! them for that process: it can take them again, and nobody else sees them until it has ended.
//! So none is lost, and none is with two processes at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use fdbroker_wire::Slot;

use super::deposit::Deposit;
use super::slots::Slots;
use crate::process_number;
use crate::sys::watch::Watched;
use crate::worker::ownership::participant::Participant;

/// Which deposits that are, and who takes each.
#[derive(Default)]
pub(crate) struct PendingTakes {
    now: Rc<RefCell<Takers>>,
    /// What an earlier worker was giving to a process that lives.
    kept: RefCell<HashMap<Slot, Rc<Former>>>,
}

/// The process that an earlier worker was giving something to.
pub(crate) struct Former {
    pub(crate) pid: i32,
    pub(crate) process: Watched,
}

type Takers = HashMap<Slot, Take>;

/// What is taken of a slot, and by which session.
struct Take {
    deposit: Rc<Deposit>,
    taker: Rc<Participant>,
}

impl Take {
    fn is_of(&self, deposit: &Rc<Deposit>) -> bool {
        Rc::ptr_eq(&self.deposit, deposit)
    }
}

/// A deposit that is being taken, until this is dropped.
pub(crate) struct Reservation {
    pub(crate) deposit: Rc<Deposit>,
    taker: Rc<Participant>,
    taking: Rc<RefCell<Takers>>,
}

impl PendingTakes {
    /// Returns who takes a deposit. A deposit that has replaced it is another one.
    pub(crate) fn taker(&self, deposit: &Rc<Deposit>) -> Option<Rc<Participant>> {
        let takers = self.now.borrow();
        if takers.is_empty() {
            return None;
        }
        let take = takers.get(&deposit.slot).filter(|take| take.is_of(deposit))?;
        Some(Rc::clone(&take.taker))
    }

    pub(crate) fn begin(&self, deposit: &Rc<Deposit>, taker: &Rc<Participant>) -> Reservation {
        let take = Take { deposit: Rc::clone(deposit), taker: Rc::clone(taker) };
        self.now.borrow_mut().insert(deposit.slot, take);
        let (deposit, taker) = (Rc::clone(deposit), Rc::clone(taker));
        Reservation { deposit, taker, taking: Rc::clone(&self.now) }
    }

    /// Whether a slot's deposit is kept for another process than this session's.
    pub(crate) fn is_kept_from(&self, slot: Slot, participant: &Participant) -> bool {
        let kept = self.kept.borrow();
        !kept.is_empty() && kept.get(&slot).is_some_and(|former| !former.is(participant))
    }

    /// Something else lies in a slot, or nothing: it is kept for nobody.
    pub(crate) fn forget(&self, slot: Slot) {
        let mut kept = self.kept.borrow_mut();
        if !kept.is_empty() {
            kept.remove(&slot);
        }
    }

    /// Keeps slots for a process that an earlier worker was giving them to.
    pub(crate) fn keep_for(&self, former: &Rc<Former>, slots: &[Slot]) {
        let each = slots.iter().map(|slot| (*slot, Rc::clone(former)));
        self.kept.borrow_mut().extend(each);
    }

    /// The process has ended: what was kept for it in a slot is there for everybody.
    pub(crate) fn give_up(&self, slot: Slot, former: &Rc<Former>) {
        let mut kept = self.kept.borrow_mut();
        if kept.get(&slot).is_some_and(|found| Rc::ptr_eq(found, former)) {
            kept.remove(&slot);
        }
    }
}

impl Former {
    fn is(&self, participant: &Participant) -> bool {
        let theirs = participant.identity.process.as_ref().and_then(process_number::number);
        match process_number::number(&self.process) {
            Some(number) if theirs.is_some() => theirs == Some(number),
            _ => self.pid != 0 && self.pid == participant.pid(),
        }
    }
}

impl Reservation {
    /// Whether it lies in its slot, and nobody else has begun to take it: what has replaced it may be
    /// somebody else's.
    pub(crate) fn is_there(&self, slots: &Slots) -> bool {
        let found = slots.get(self.deposit.slot);
        found.is_some_and(|found| Rc::ptr_eq(found, &self.deposit))
            && self.is_latest(&self.taking.borrow())
    }

    /// Returns whether no other session has begun to take it since.
    fn is_latest(&self, takers: &Takers) -> bool {
        let take = takers.get(&self.deposit.slot);
        take.is_some_and(|take| take.is_of(&self.deposit) && take.taker.id == self.taker.id)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut takers = self.taking.borrow_mut();
        // Another one may take by now what the tag's former owner is not to have.
        if self.is_latest(&takers) {
            takers.remove(&self.deposit.slot);
        }
    }
}
