//! Deposits that are being taken: their slots are empty for everybody else until it is known whether
//! the answer was sent. If this worker dies before that, they are as they were.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use fdbroker_wire::Slot;

use super::deposit::Deposit;

/// Which slots that are.
#[derive(Default)]
pub(super) struct Taking(Rc<RefCell<HashSet<Slot>>>);

/// A deposit that is being taken, until this is dropped.
pub(super) struct Taken {
    pub(super) deposit: Rc<Deposit>,
    taking: Rc<RefCell<HashSet<Slot>>>,
}

impl Taking {
    /// Whether what lies in a slot is being taken.
    pub(super) fn has(&self, slot: Slot) -> bool {
        let slots = self.0.borrow();
        !slots.is_empty() && slots.contains(&slot)
    }

    pub(super) fn begin(&self, deposit: &Rc<Deposit>) -> Taken {
        self.0.borrow_mut().insert(deposit.slot);
        Taken { deposit: Rc::clone(deposit), taking: Rc::clone(&self.0) }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.taking.borrow_mut().remove(&self.deposit.slot);
    }
}
