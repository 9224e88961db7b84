//! The supervisor's copies of the deposits: which it has not acknowledged, could not keep, or has
//! still to close.
//!
//! A deposit that was replaced or deleted stays on its owner's account until the supervisor has
//! closed its copy too. That holds even if an earlier worker deleted it. Otherwise descriptors that
//! are slow to close would fill the supervisor's table. If the supervisor could not keep a deposit,
//! it has no copy, and closes none.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};

use fdbroker_policy::Uid;
use fdbroker_wire::{Slot, Tally};
use tokio::sync::Notify;

use crate::worker::limits::quota::{DepositCharge, Quotas};
use crate::worker::store::deposit::Deposit;
use crate::worker::store::slots::Slots;

/// What the supervisor has of the deposits.
#[derive(Default)]
pub(crate) struct Copies {
    /// What the supervisor has not answered yet, oldest first.
    unanswered: RefCell<VecDeque<Unanswered>>,
    answered: Notify,
    /// In which slots lies what the supervisor could not keep.
    unkept: RefCell<BTreeSet<Slot>>,
    resend_copies: Notify,
    /// What has left its slot and has still to be closed at the supervisor, oldest first.
    closing: RefCell<BTreeMap<ClosedInOrder, VecDeque<Arc<DepositCharge>>>>,
}

/// Whose deposits are closed one after the other: an owner's that nobody else was given, or its others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct ClosedInOrder {
    owner: Uid,
    shared: bool,
}

/// An ADD or DEL.
struct Unanswered {
    slot: Slot,
    /// Of an ADD: on whose account its deposit is, and the charge.
    kept: Option<(Uid, Weak<DepositCharge>)>,
}

impl Copies {
    /// A deposit has been sent to be kept.
    pub(super) fn sent(&self, deposit: &Deposit) {
        let kept = Some((deposit.owner, Arc::downgrade(&deposit.charge)));
        self.unanswered.borrow_mut().push_back(Unanswered { slot: deposit.slot, kept });
    }

    /// A slot has been told to be forgotten.
    pub(super) fn sent_away(&self, slot: Slot) {
        self.unanswered.borrow_mut().push_back(Unanswered { slot, kept: None });
    }

    /// Returns how many messages have no answer yet.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.borrow().len()
    }

    /// Waits until one more has been answered.
    pub(super) async fn answered(&self) {
        self.answered.notified().await;
    }

    /// Returns the first slot of which the supervisor could not keep a copy, once there is one.
    pub(super) async fn unkept(&self) -> Slot {
        loop {
            let first = self.unkept.borrow().first().copied();
            match first {
                Some(slot) => return slot,
                None => self.resend_copies.notified().await,
            }
        }
    }

    /// Takes a slot from those, and returns whether it was among them.
    pub(super) fn take_unkept(&self, slot: Slot) -> bool {
        self.unkept.borrow_mut().remove(&slot)
    }

    /// Adds a slot to those.
    pub(super) fn set_unkept(&self, slot: Slot) {
        self.unkept.borrow_mut().insert(slot);
        self.resend_copies.notify_one();
    }

    /// A deposit has just left its slot. If the supervisor has a copy, the charge stays until it says that
    /// the copy is closed. `shared`: it was told that others were given it.
    pub(crate) fn leaves(&self, deposit: &Deposit, shared: bool) {
        let unkept = self.unkept.borrow_mut().remove(&deposit.slot);
        if deposit.descriptor.is_some() && !unkept {
            let mut closing = self.closing.borrow_mut();
            let order = ClosedInOrder { owner: deposit.owner, shared };
            closing.entry(order).or_default().push_back(Arc::clone(&deposit.charge));
        }
    }

    /// Charges what an earlier worker waited for: what left its slot then, and the supervisor has still
    /// to close. To be called before anything else leaves.
    pub(crate) fn wait_for(&self, tally: Tally, quotas: &Quotas) {
        let (mut closing, owner) = (self.closing.borrow_mut(), Uid(tally.uid));
        for (shared, number) in [(false, tally.deposits), (true, tally.shared)] {
            let new = || Arc::new(quotas.restored_deposit(owner, 0, true));
            let charges = (0..number).map(|_| new());
            let order = ClosedInOrder { owner, shared };
            closing.entry(order).or_default().extend(charges);
        }
    }

    /// The supervisor has closed its copies of so much that left its slot, the oldest first: in that order
    /// it closes.
    pub(crate) fn closed(&self, tally: Tally) {
        self.give_back(Uid(tally.uid), |shared, charges| {
            let number = if shared { tally.shared } else { tally.deposits };
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            charges.drain(..number.min(charges.len()));
        });
    }

    /// The oldest message has been answered. Returns its slot if the copy of its deposit could not be
    /// kept: it will be sent again.
    pub(crate) fn settle(&self, rc: i16, slots: &Slots) -> Option<Slot> {
        let Unanswered { slot, kept } = self.unanswered.borrow_mut().pop_front()?;
        self.answered.notify_one();
        let (owner, charge) = kept.filter(|_| rc < 0)?;
        let is_its = |other: &Arc<DepositCharge>| Weak::as_ptr(&charge) == Arc::as_ptr(other);
        if !slots.get(slot).is_some_and(|deposit| is_its(&deposit.charge)) {
            // What has left its slot with this charge need not be closed at the supervisor.
            self.give_back(owner, |_, charges| charges.retain(|other| !is_its(other)));
            return None;
        }
        self.set_unkept(slot);
        Some(slot)
    }

    /// Takes charges of an owner's from what has still to be closed: first of what nobody else was given,
    /// then of what is shared.
    fn give_back(&self, owner: Uid, take: impl Fn(bool, &mut VecDeque<Arc<DepositCharge>>)) {
        let mut closing = self.closing.borrow_mut();
        for shared in [false, true] {
            let order = ClosedInOrder { owner, shared };
            let Some(charges) = closing.get_mut(&order) else { continue };
            take(shared, charges);
            if charges.is_empty() {
                closing.remove(&order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use fdbroker_policy::Settings;
    use fdbroker_wire::Add;

    use super::*;
    use crate::fd::CloseQueue;

    const OWNER: Uid = Uid(7);
    const FAILED: i16 = -24;

    struct Case {
        copies: Copies,
        quotas: Quotas,
        slots: Slots,
        slot: Slot,
    }

    impl Case {
        fn new() -> Self {
            Self {
                copies: Copies::default(),
                quotas: Quotas::new(&Settings::default(), 4096),
                slots: Slots::default(),
                slot: Slot::new(1, 5).unwrap(),
            }
        }

        /// Deposits something, in the place of the slot's deposit.
        fn add(&mut self) {
            let descriptor: OwnedFd = std::io::pipe().unwrap().0.into();
            let descriptor = Some(CloseQueue::new().hold(OWNER, descriptor));
            let add = Add { slot: self.slot, ufd: 0, payload: b"".as_slice().into(), descriptor };
            let deposit = Deposit::new(add, OWNER, self.quotas.restored_deposit(OWNER, 0, true));
            self.copies.sent(&deposit);
            if let Some(before) = self.slots.get(self.slot) {
                self.copies.leaves(before, false);
            }
            self.slots.put(deposit);
        }

        fn del(&mut self) {
            self.copies.sent_away(self.slot);
            self.copies.leaves(self.slots.get(self.slot).unwrap(), false);
            self.slots.take(self.slot);
        }

        /// The supervisor answers the oldest message.
        fn answer(&self, rc: i16) -> Option<Slot> {
            self.copies.settle(rc, &self.slots)
        }

        /// How many are charged until the supervisor has closed its copy.
        fn closing(&self) -> usize {
            self.copies.closing.borrow().values().map(VecDeque::len).sum()
        }
    }

    #[test]
    fn what_the_supervisor_could_not_keep_is_not_waited_for_when_it_is_deleted() {
        let mut case = Case::new();
        case.add();
        assert_eq!(case.answer(FAILED), Some(case.slot));
        case.del();
        assert_eq!(case.answer(FAILED), None, "there was none to be deleted");
        assert_eq!(case.closing(), 0);
    }

    #[test]
    fn what_the_supervisor_could_not_keep_is_not_waited_for_when_it_was_deleted_before() {
        let mut case = Case::new();
        case.add();
        case.del();
        assert_eq!((case.answer(FAILED), case.answer(FAILED)), (None, None));
        assert_eq!(case.closing(), 0);
    }

    #[test]
    fn what_the_supervisor_could_not_keep_is_not_waited_for_when_it_is_replaced() {
        let mut case = Case::new();
        case.add();
        case.add();
        assert_eq!(case.answer(FAILED), None, "something else lies there");
        assert_eq!(case.answer(FAILED), Some(case.slot));
        case.add();
        assert_eq!((case.answer(0), case.closing()), (None, 0));
        case.add();
        assert_eq!((case.answer(0), case.closing()), (None, 1), "of this one it has a copy");
    }
}
