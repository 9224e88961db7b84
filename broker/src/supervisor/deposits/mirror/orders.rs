//! What the service manager has still to be told, by the users on whose account it is.
//!
//! Users take turns: a user that deposits and deletes without end delays only itself. What was not sent yet and is of no
//! use any more is not sent at all.

use std::collections::{BTreeMap, BTreeSet};
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

impl Order {
    fn name(&self) -> Name {
        let (Self::Put(name, _) | Self::Remove(name)) = self;
        *name
    }
}

impl ToStore {
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Deposit(kept) => kept.descriptor.as_ref().and_then(PeerFd::descriptor),
            Self::Journal(memory) => Some(memory.as_fd()),
        }
    }
}

/// All of them. Of each name there is one at most, beside that which is being sent.
#[derive(Default)]
pub(super) struct Orders {
    queues: BTreeMap<Account, BTreeMap<u64, Order>>,
    /// Where each name's is.
    places: BTreeMap<Name, (Account, u64)>,
    /// How many there were.
    last_number: u64,
    /// Who had the last turn.
    last: Account,
    /// What is being sent: it stays until that has succeeded.
    current: Option<Order>,
    /// What is to be stored, and the service manager has not read.
    unread: BTreeSet<Name>,
    /// What of that has been sent.
    sent: Vec<Name>,
}

impl Orders {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() + usize::from(self.current.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.current.is_none()
    }

    pub(super) fn push(&mut self, account: Account, order: Order) {
        let name = order.name();
        if matches!(order, Order::Put(..)) {
            self.unread.insert(name);
        }
        self.last_number += 1;
        self.queues.entry(account).or_default().insert(self.last_number, order);
        self.places.insert(name, (account, self.last_number));
    }

    /// Whether the service manager has still to read something that is to be stored.
    pub(super) fn is_unread(&self, name: Name) -> bool {
        self.unread.contains(&name)
    }

    /// Whether anything that was sent to be stored is not read.
    pub(super) fn has_sent_any(&self) -> bool {
        !self.sent.is_empty()
    }

    /// How many are to be stored that were not sent.
    pub(super) fn unsent(&self) -> usize {
        self.unread.len().saturating_sub(self.sent.len())
    }

    /// Whether nothing is to be stored that the service manager has not read.
    pub(super) fn has_stored_all(&self) -> bool {
        self.unread.is_empty()
    }

    /// Whether something is among what was sent to be stored, and is not read.
    pub(super) fn has_sent(&self, name: Name) -> bool {
        self.sent.contains(&name)
    }

    /// Whether what is next may be sent in one batch with what was sent, where room is seen and not told: what is
    /// removed makes room behind it, and without the journal all is of no use.
    /// With `one_by_one`, nothing does.
    pub(super) fn next_goes_with_sent(&mut self, one_by_one: bool) -> bool {
        let has_journal = self.sent.iter().any(|name| matches!(name, Name::Journal(_)));
        let removes = matches!(self.next(), Some(Order::Remove(_)));
        self.sent.is_empty() || !one_by_one && !has_journal && !removes
    }

    /// It has read everything that was sent. Returns what was to be stored.
    pub(super) fn read(&mut self) -> Vec<Name> {
        let sent = std::mem::take(&mut self.sent);
        self.unread.retain(|name| !sent.contains(name));
        sent
    }

    /// Gives up storing something that is still to be sent. Returns whether that was so.
    pub(super) fn withdraw_put(&mut self, name: Name) -> bool {
        let withdrawn = self.withdraw(name, |order| matches!(order, Order::Put(..)));
        if withdrawn {
            self.unread.remove(&name);
        }
        withdrawn
    }

    /// Gives up removing something, as long as that is still to be sent. Returns whether that was so.
    pub(super) fn withdraw_remove(&mut self, name: Name) -> bool {
        self.withdraw(name, |order| matches!(order, Order::Remove(_)))
    }

    fn withdraw(&mut self, name: Name, is_meant: impl Fn(&Order) -> bool) -> bool {
        let Some((account, number)) = self.places.get(&name).copied() else { return false };
        let order = self.queues.get(&account).and_then(|queue| queue.get(&number));
        order.is_some_and(is_meant) && self.take(account, Some(number)).is_some()
    }

    /// Takes an order of an account out of its queue: the first, without a number.
    fn take(&mut self, account: Account, number: Option<u64>) -> Option<Order> {
        let queue = self.queues.get_mut(&account)?;
        let number = number.or_else(|| queue.first_key_value().map(|(number, _)| *number))?;
        let order = queue.remove(&number)?;
        if queue.is_empty() {
            self.queues.remove(&account);
        }
        self.places.remove(&order.name());
        Some(order)
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
        self.take(account, None)
    }

    /// The next one has been sent; returns it.
    pub(super) fn done(&mut self) -> Option<Order> {
        let order = self.current.take()?;
        if let Order::Put(name, _) = &order {
            self.sent.push(*name);
        }
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::object_number::ObjectNumber;
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
        assert!(!orders.withdraw_put(name(1)), "it is being sent");
        assert!(!orders.withdraw_remove(name(2)), "it is to be stored");
        assert!(orders.withdraw_put(name(2)));
        assert!(!orders.withdraw_put(name(2)));
        assert_eq!(sent(&mut orders), Some(name(1)));
        assert_eq!(sent(&mut orders), None);
        assert_eq!(orders.len(), 0);
    }

    #[test]
    fn what_is_to_be_stored_is_unread_until_everything_that_was_sent_is_read() {
        let mut orders = Orders::default();
        let memory = Rc::new(OwnedFd::from(std::io::pipe().unwrap().0));
        for number in [1, 2] {
            orders.push(USERS[1], Order::Put(name(number), ToStore::Journal(Rc::clone(&memory))));
        }
        assert_eq!(sent(&mut orders), Some(name(1)));
        assert!(orders.is_unread(name(1)) && orders.is_unread(name(2)));
        orders.read();
        assert!(!orders.is_unread(name(1)) && orders.is_unread(name(2)));
        assert!(orders.withdraw_put(name(2)) && !orders.is_unread(name(2)));
    }
}
