//! The places among the holders of one resource, shared out: the last ones are for users who have few.
//!
//! A caller waits for a place in its turn. Users who may not have the last ones let those pass who may.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::{Sender, channel};

use crate::payer::Payer;

/// Which part of all places is kept for users who have few.
const KEPT: usize = 8;
/// A user who has fewer is one who has few.
pub(crate) const FEW: usize = 2;

/// The places of one resource: how many a policy has, and who has them under any policy.
#[derive(Clone)]
pub(crate) struct Holders {
    state: Arc<Mutex<State>>,
    places: usize,
}

/// A place, until this is dropped.
pub(crate) struct HolderPlace {
    holders: Holders,
    payer: Payer,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// How many each user has.
    had: BTreeMap<Payer, usize>,
    /// Who waits, in this order.
    waiting: VecDeque<Waiter>,
}

/// One that waits for one of so many places.
struct Waiter {
    payer: Payer,
    places: usize,
    give: Sender<HolderPlace>,
}

impl Holders {
    /// So many places.
    pub(crate) fn new(places: usize) -> Self {
        Self { state: Arc::default(), places }
    }

    /// So many places of the same resource under another policy: those that are taken stay taken.
    pub(crate) fn resized(&self, places: usize) -> Self {
        Self { state: Arc::clone(&self.state), places }
    }

    /// Returns how many are for users who have few.
    pub(crate) fn kept(&self) -> usize {
        kept(self.places)
    }

    /// Whether anybody has a place.
    pub(crate) fn are_there(&self) -> bool {
        self.lock().taken > 0
    }

    /// Takes a place, if one is free that this user may have.
    pub(crate) fn try_take(&self, payer: Payer) -> Option<HolderPlace> {
        let taken = self.lock().take(payer, self.places);
        taken.then(|| self.place(payer))
    }

    /// Takes a place for a user who has had it before, also where there are fewer by now.
    pub(crate) fn take_again(&self, payer: Payer) -> HolderPlace {
        self.lock().count(payer);
        self.place(payer)
    }

    /// Takes a place as soon as one is free that this user may have. Can be dropped.
    pub(crate) async fn take(&self, payer: Payer) -> Option<HolderPlace> {
        let (give, given) = channel();
        let waiter = Waiter { payer, places: self.places, give };
        self.lock().waiting.push_back(waiter);
        self.hand_on();
        given.await.ok()
    }

    /// Hands free places to those who wait for them.
    fn hand_on(&self) {
        while let Some((payer, give)) = self.next() {
            // What nobody waits for any more is given back, and the next one has its turn.
            drop(give.send(self.place(payer)));
        }
    }

    /// The first one that waits and may have a place, which is taken.
    fn next(&self) -> Option<(Payer, Sender<HolderPlace>)> {
        let mut state = self.lock();
        state.waiting.retain(|waiter| !waiter.give.is_closed());
        let may_take = |waiter: &Waiter| state.may_take(waiter.payer, waiter.places);
        let first = state.waiting.iter().position(may_take)?;
        let Waiter { payer, places, give } = state.waiting.remove(first)?;
        state.take(payer, places).then_some((payer, give))
    }

    fn place(&self, payer: Payer) -> HolderPlace {
        HolderPlace { holders: self.clone(), payer }
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of so many places are for users who have few.
const fn kept(places: usize) -> usize {
    places / KEPT
}

impl State {
    fn may_take(&self, payer: Payer, places: usize) -> bool {
        let has_few = self.had.get(&payer).is_none_or(|had| *had < FEW);
        places.saturating_sub(self.taken) > if has_few { 0 } else { kept(places) }
    }

    fn take(&mut self, payer: Payer, places: usize) -> bool {
        let may_take = self.may_take(payer, places);
        if may_take {
            self.count(payer);
        }
        may_take
    }

    fn count(&mut self, payer: Payer) {
        self.taken = self.taken.saturating_add(1);
        let had = self.had.entry(payer).or_default();
        *had = had.saturating_add(1);
    }

    fn give_back(&mut self, payer: Payer) {
        self.taken = self.taken.saturating_sub(1);
        let Some(had) = self.had.get_mut(&payer) else { return };
        *had = had.saturating_sub(1);
        if *had == 0 {
            self.had.remove(&payer);
        }
    }
}

impl Drop for HolderPlace {
    fn drop(&mut self) {
        self.holders.lock().give_back(self.payer);
        self.holders.hand_on();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const fn user(number: u32) -> Payer {
        Payer::named(number)
    }

    fn now<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn all_of(holders: &Holders, payer: Payer) -> Vec<HolderPlace> {
        std::iter::from_fn(|| holders.try_take(payer)).collect()
    }

    #[test]
    fn the_last_places_are_for_users_who_have_few() {
        let holders = Holders::new(20);
        let many = all_of(&holders, user(1));
        assert_eq!(many.len(), 18);
        let few = [all_of(&holders, user(2)), all_of(&holders, user(3))];
        assert_eq!(few.each_ref().map(Vec::len), [2, 0]);
        drop(few);
        let others = [holders.try_take(user(3)), holders.try_take(user(4))];
        assert!(others.iter().all(Option::is_some));
        drop(many);
        assert_eq!(all_of(&holders, user(5)).len(), 16);
    }

    #[test]
    fn of_few_places_none_is_kept() {
        assert_eq!(all_of(&Holders::new(7), user(1)).len(), 7);
        assert_eq!(all_of(&Holders::new(8), user(1)).len(), 7);
    }

    #[test]
    fn a_place_that_is_given_back_goes_to_the_first_who_may_have_it() {
        let holders = Holders::new(8);
        let mut many = all_of(&holders, user(1));
        let few = holders.try_take(user(2));
        let (mut first, mut second) = (pin!(holders.take(user(1))), pin!(holders.take(user(3))));
        assert!(now(first.as_mut()).is_none() && now(second.as_mut()).is_none());
        drop(few);
        assert!(now(first.as_mut()).is_none(), "the last one is not for it");
        let third = now(second.as_mut()).flatten();
        assert!(third.is_some());
        many.pop();
        assert!(now(first.as_mut()).is_none(), "the last one stays for others");
        many.pop();
        assert!(now(first.as_mut()).flatten().is_some());
    }

    #[test]
    fn nobody_who_has_stopped_waiting_keeps_a_place() {
        let holders = Holders::new(1);
        let held = holders.try_take(user(1));
        {
            let mut waits = pin!(holders.take(user(2)));
            assert!(now(waits.as_mut()).is_none());
        }
        let mut next = pin!(holders.take(user(3)));
        assert!(now(next.as_mut()).is_none());
        drop(held);
        assert!(now(next.as_mut()).flatten().is_some());
        assert!(holders.try_take(user(4)).is_some(), "nothing is left of it");
    }

    #[test]
    fn places_stay_taken_when_their_number_changes() {
        let before = Holders::new(2);
        let held = all_of(&before, user(1));
        assert_eq!(held.len(), 2);
        let fewer = before.resized(1);
        let more = fewer.resized(3);
        let another = more.try_take(user(2));
        assert!(another.is_some() && more.try_take(user(2)).is_none());
        drop(held);
        assert!(fewer.try_take(user(1)).is_none(), "its only place is taken");
        drop(another);
        assert!(fewer.try_take(user(1)).is_some());
    }

    #[test]
    fn what_was_handed_out_by_a_predecessor_counts_also_beyond_the_last_place() {
        let holders = Holders::new(8);
        let mut again: Vec<_> = (0..9).map(|_| holders.take_again(user(1))).collect();
        again.pop();
        assert!(holders.try_take(user(2)).is_none());
        again.pop();
        assert!(holders.try_take(user(2)).is_some());
    }
}
