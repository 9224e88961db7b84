//! Deposits that are being taken: they are there for nobody else until it is known whether the answer
//! was sent. If this worker dies before that, they are as they were.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::deposit::Deposit;
use super::holder::Holder;

/// Which deposits that are, by their addresses, and who takes each.
#[derive(Default)]
pub(super) struct Taking(Rc<RefCell<Takers>>);

type Takers = HashMap<*const Deposit, Rc<Holder>>;

/// A deposit that is being taken, until this is dropped. It keeps the address from being another's.
pub(super) struct Taken {
    pub(super) deposit: Rc<Deposit>,
    taker: Rc<Holder>,
    taking: Rc<RefCell<Takers>>,
}

impl Taking {
    /// Who takes a deposit. What was put in its slot meanwhile is another one.
    pub(super) fn taker(&self, deposit: &Rc<Deposit>) -> Option<Rc<Holder>> {
        let takers = self.0.borrow();
        if takers.is_empty() { None } else { takers.get(&Rc::as_ptr(deposit)).cloned() }
    }

    pub(super) fn begin(&self, deposit: &Rc<Deposit>, taker: &Rc<Holder>) -> Taken {
        self.0.borrow_mut().insert(Rc::as_ptr(deposit), Rc::clone(taker));
        let (deposit, taker) = (Rc::clone(deposit), Rc::clone(taker));
        Taken { deposit, taker, taking: Rc::clone(&self.0) }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let (address, mut takers) = (Rc::as_ptr(&self.deposit), self.taking.borrow_mut());
        // Another one may take by now what the tag's former owner is not to have.
        if takers.get(&address).is_some_and(|taker| Rc::ptr_eq(taker, &self.taker)) {
            takers.remove(&address);
        }
    }
}
