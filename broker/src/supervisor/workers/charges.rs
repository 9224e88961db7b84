//! Who has how many relays: each user, and the connections that are ready. Each of these accounts has a bound.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::payer::Payer;

/// A user who has fewer is one who has few.
pub(crate) const FEW: usize = 2;

/// Whose relay it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Account {
    /// That of a user who has the connection, or is about to have it.
    User(Payer),
    /// Nobody has the connection yet: it is ready.
    Ready,
}

/// The most that an account may have.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) of_a_user: usize,
    pub(super) ready: usize,
}

/// How many each account has.
#[derive(Clone)]
pub(super) struct Charges {
    bounds: Bounds,
    counts: Arc<Mutex<BTreeMap<Account, usize>>>,
}

/// One relay on an account, until this is dropped.
pub(crate) struct Charge {
    charges: Charges,
    account: Account,
}

impl Charges {
    pub(super) fn within(bounds: Bounds) -> Self {
        Self { bounds, counts: Arc::default() }
    }

    /// Charges an account with one more; `None` if it has as many as it may have.
    pub(super) fn charge(&self, account: Account) -> Option<Charge> {
        let mut counts = self.lock();
        let count = counts.entry(account).or_default();
        if *count >= self.bounds.of(account) {
            return None;
        }
        *count = count.saturating_add(1);
        drop(counts);
        Some(Charge { charges: self.clone(), account })
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Account, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Charge {
    /// Whether the account had few before this one.
    pub(super) fn is_one_of_few(&self) -> bool {
        self.charges.lock().get(&self.account).is_none_or(|count| *count <= FEW)
    }
}

impl Bounds {
    fn of(self, account: Account) -> usize {
        match account {
            Account::User(_) => self.of_a_user,
            Account::Ready => self.ready,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut counts = self.charges.lock();
        let Some(count) = counts.get_mut(&self.account) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&self.account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_charges_of_an_account_are_of_few() {
        let charges = Charges::within(Bounds { of_a_user: 9, ready: 1 });
        let user = Account::User(Payer::named(7));
        let mut held = Vec::new();
        for number in 1..=FEW + 1 {
            held.push(charges.charge(user).unwrap());
            assert_eq!(held[0].is_one_of_few(), number <= FEW, "{number}");
        }
    }

    #[test]
    fn each_account_has_a_bound_of_its_own() {
        let charges = Charges::within(Bounds { of_a_user: 2, ready: 1 });
        let accounts =
            [Account::User(Payer::named(7)), Account::User(Payer::named(8)), Account::Ready];
        for (account, most) in accounts.into_iter().zip([2, 2, 1]) {
            let held: Vec<_> = (0..most).map(|_| charges.charge(account).unwrap()).collect();
            assert!(charges.charge(account).is_none(), "{account:?}");
            drop(held);
            assert!(charges.charge(account).is_some(), "{account:?}");
        }
        assert!(charges.lock().is_empty(), "an account without relays takes no memory");
    }
}
