//! The supervisor's copies of the deposits: which it has not acknowledged, could not keep, or has
//! still to close.
//!
//! A deposit that was replaced or deleted stays on its owner's account until the supervisor has
//! closed its copy too. That holds even if an earlier worker deleted it. Otherwise descriptors that
//! are slow to close would fill the supervisor's table. If the supervisor could not keep a deposit,
//! it has no copy, and closes none.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use fdbroker_policy::Uid;
use fdbroker_wire::{DepositNumber, Slot, Tally};
use tokio::sync::Notify;

use crate::payer::Payers;
use crate::worker::limits::quota::{DepositCharge, Quotas};
use crate::worker::store::deposit::Deposit;
use crate::worker::store::slots::Slots;

/// What the supervisor has of the deposits.
pub(crate) struct Copies {
    /// What the supervisor has not answered yet, oldest first.
    unanswered: RefCell<VecDeque<Unanswered>>,
    answered: Notify,
    /// In which slots lies what the supervisor could not keep.
    unkept: RefCell<BTreeSet<Slot>>,
    resend_copies: Notify,
    /// What has left its slot and has still to be closed at the supervisor.
    closing: RefCell<HashMap<DepositNumber, Arc<DepositCharge>>>,
    /// The same of earlier workers, by owner.
    inherited: RefCell<BTreeMap<Uid, Vec<DepositCharge>>>,
    next_number: Cell<u64>,
}

/// An ADD or DEL.
struct Unanswered {
    slot: Slot,
    /// Of an ADD: which deposit.
    kept: Option<DepositNumber>,
}

impl Default for Copies {
    /// Numbers go on from the time, in nanoseconds: no worker can count as fast as that, so no later one
    /// begins with a number that was there.
    fn default() -> Self {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            unanswered: RefCell::default(),
            answered: Notify::default(),
            unkept: RefCell::default(),
            resend_copies: Notify::default(),
            closing: RefCell::default(),
            inherited: RefCell::default(),
            next_number: Cell::new(u64::try_from(since.as_nanos()).unwrap_or_default()),
        }
    }
}

impl Copies {
    /// Returns the number of a new deposit.
    pub(crate) fn next_number(&self) -> DepositNumber {
        let number = self.next_number.get();
        self.next_number.set(number.wrapping_add(1));
        DepositNumber(number)
    }

    /// A deposit has been sent to be kept.
    pub(super) fn sent(&self, deposit: &Deposit) {
        let kept = Some(deposit.record.number);
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
    /// the copy is closed.
    pub(crate) fn leaves(&self, deposit: &Deposit) {
        let unkept = self.unkept.borrow_mut().remove(&deposit.slot);
        if deposit.descriptor.is_some() && !unkept {
            let charge = Arc::clone(&deposit.charge);
            self.closing.borrow_mut().insert(deposit.record.number, charge);
        }
    }

    /// Charges what an earlier worker waited for: what left its slot then, and the supervisor has still
    /// to close.
    pub(crate) fn wait_for(&self, tally: Tally, quotas: &Quotas, payers: &Payers) {
        let owner = Uid(tally.uid);
        let payer = payers.of(owner);
        let charges = (0..tally.deposits).map(|_| quotas.restored_deposit(payer, 0, true));
        self.inherited.borrow_mut().entry(owner).or_default().extend(charges);
    }

    /// The supervisor has closed its copies of these.
    pub(crate) fn removed(&self, numbers: &[DepositNumber]) {
        let mut closing = self.closing.borrow_mut();
        numbers.iter().for_each(|number| drop(closing.remove(number)));
    }

    /// The supervisor has closed so many of what an earlier worker waited for.
    pub(crate) fn closed(&self, tally: Tally) {
        let mut inherited = self.inherited.borrow_mut();
        let Some(charges) = inherited.get_mut(&Uid(tally.uid)) else { return };
        let closed = usize::try_from(tally.deposits).unwrap_or(usize::MAX);
        charges.truncate(charges.len().saturating_sub(closed));
        if charges.is_empty() {
            inherited.remove(&Uid(tally.uid));
        }
    }

    /// The oldest message has been answered. Returns its slot if the copy of its deposit could not be
    /// kept: it will be sent again.
    pub(crate) fn settle(&self, rc: i16, slots: &Slots) -> Option<Slot> {
        let Unanswered { slot, kept } = self.unanswered.borrow_mut().pop_front()?;
        self.answered.notify_one();
        let number = kept.filter(|_| rc < 0)?;
        if slots.get(slot).is_none_or(|deposit| deposit.record.number != number) {
            // It has left its slot, and need not be closed at the supervisor.
            self.closing.borrow_mut().remove(&number);
            return None;
        }
        self.set_unkept(slot);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use fdbroker_policy::Settings;
    use fdbroker_wire::Add;

    use super::*;
    use crate::deposit_record::{DepositRecord, Origin};
    use crate::fd::CloseQueue;
    use crate::payer::Payer;

    const OWNER: Uid = Uid(7);
    const PAYER: Payer = Payer::named(7);
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
            let descriptor = Some(CloseQueue::new().hold(PAYER, descriptor));
            let add = Add { slot: self.slot, ufd: 0, payload: b"".as_slice().into(), descriptor };
            let record = DepositRecord { owner: OWNER, number: self.copies.next_number() };
            let charge = self.quotas.restored_deposit(PAYER, 0, true);
            let deposit = Deposit::new(add, (record, Origin::default()), PAYER, charge);
            self.copies.sent(&deposit);
            if let Some(before) = self.slots.get(self.slot) {
                self.copies.leaves(before);
            }
            self.slots.put(std::rc::Rc::new(deposit));
        }

        fn del(&mut self) {
            self.copies.sent_away(self.slot);
            self.copies.leaves(self.slots.get(self.slot).unwrap());
            self.slots.take(self.slot);
        }

        /// The supervisor answers the oldest message.
        fn answer(&self, rc: i16) -> Option<Slot> {
            self.copies.settle(rc, &self.slots)
        }

        /// How many are charged until the supervisor has closed its copy.
        fn closing(&self) -> usize {
            self.copies.closing.borrow().len()
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
