//! What the service manager has still to be told, by the users on whose account it is.
//!
//! Users take turns: a user that deposits and deletes without end delays only itself. What was not sent yet and is of no
//! use any more is not sent at all.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use super::store::Name;
use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::supervisor::deposits::kept::Kept;

/// On whose account an order is; nobody's are the journals'.
pub(super) type Account = Option<Payer>;

/// One of them.
#[derive(Clone)]
pub(super) enum Order {
    Put(Name, ToStore),
    Remove(Name),
}

/// What is to be stored.
#[derive(Clone)]
pub(super) enum ToStore {
    Deposit(Rc<Kept>),
    Journal(Rc<OwnedFd>),
}

impl ToStore {
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Deposit(kept) => kept.descriptor.as_ref().and_then(PeerFd::descriptor),
            Self::Journal(memory) => Some(memory.as_fd()),
        }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Orders {
    queues: BTreeMap<Account, VecDeque<Order>>,
    /// Who had the last turn.
    last: Account,
    /// What is being sent: it stays until that has succeeded.
    current: Option<Order>,
}

impl Orders {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let waiting: usize = self.queues.values().map(VecDeque::len).sum();
        waiting + usize::from(self.current.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.current.is_none()
    }

    pub(super) fn push(&mut self, account: Account, order: Order) {
        self.queues.entry(account).or_default().push_back(order);
    }

    /// Gives up storing something that is still to be sent. Returns whether that was so.
    pub(super) fn withdraw_put(&mut self, account: Account, name: Name) -> bool {
        self.withdraw(account, |order| matches!(order, Order::Put(put, _) if *put == name))
    }

    /// Gives up removing something, as long as that is still to be sent. Returns whether that was so.
    pub(super) fn withdraw_remove(&mut self, account: Account, name: Name) -> bool {
        self.withdraw(account, |order| matches!(order, Order::Remove(removed) if *removed == name))
    }

    fn withdraw(&mut self, account: Account, is_meant: impl Fn(&Order) -> bool) -> bool {
        let Some(queue) = self.queues.get_mut(&account) else { return false };
        let at = queue.iter().position(is_meant);
        let withdrawn = at.and_then(|at| queue.remove(at)).is_some();
        if queue.is_empty() {
            self.queues.remove(&account);
        }
        withdrawn
    }

    /// Returns the next one, which is the same until [`Orders::done`].
    pub(super) fn next(&mut self) -> Option<Order> {
        if self.current.is_none() {
            self.current = self.take_turn();
        }
        self.current.clone()
    }

    fn take_turn(&mut self) -> Option<Order> {
        let behind = (Bound::Excluded(self.last), Bound::Unbounded);
        let later = self.queues.range(behind).next().map(|(account, _)| *account);
        let account = later.or_else(|| self.queues.keys().next().copied())?;
        self.last = account;
        let queue = self.queues.get_mut(&account)?;
        let order = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&account);
        }
        order
    }

    /// The next one has been sent; returns it.
    pub(super) fn done(&mut self) -> Option<Order> {
        self.current.take()
    }
}

#[cfg(test)]
mod tests {
    use super::super::objects::ObjectNumber;
    use super::*;

    const USERS: [Account; 3] = [None, Some(Payer::named(7)), Some(Payer::named(8))];

    fn name(number: u64) -> Name {
        Name::Object(ObjectNumber(number))
    }

    fn sent(orders: &mut Orders) -> Option<Name> {
        let (Order::Put(name, _) | Order::Remove(name)) = orders.next()?;
        orders.done();
        Some(name)
    }

    #[test]
    fn users_take_turns_and_the_orders_of_each_stay_in_order() {
        let mut orders = Orders::default();
        for number in 1..=3 {
            orders.push(USERS[1], Order::Remove(name(number)));
        }
        orders.push(USERS[2], Order::Remove(name(20)));
        orders.push(USERS[0], Order::Remove(Name::Journal(1)));
        assert_eq!(orders.len(), 5);
        let all: Vec<_> = std::iter::from_fn(|| sent(&mut orders)).collect();
        assert_eq!(all, [name(1), name(20), Name::Journal(1), name(2), name(3)]);
        assert!(orders.is_empty());
    }

    #[test]
    fn what_was_not_sent_is_withdrawn_and_what_is_being_sent_is_not() {
        let mut orders = Orders::default();
        let memory = Rc::new(OwnedFd::from(std::io::pipe().unwrap().0));
        for number in [1, 2] {
            orders.push(USERS[1], Order::Put(name(number), ToStore::Journal(Rc::clone(&memory))));
        }
        assert!(orders.next().is_some());
        assert!(!orders.withdraw_put(USERS[1], name(1)), "it is being sent");
        assert!(orders.withdraw_put(USERS[1], name(2)));
        assert!(!orders.withdraw_put(USERS[1], name(2)));
        assert_eq!(sent(&mut orders), Some(name(1)));
        assert_eq!(sent(&mut orders), None);
    }
}
