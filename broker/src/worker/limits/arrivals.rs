//! Connections that came to nothing: the peer had left before it was served, or was turned away.
//!
//! The kernel's queue of the listening socket is one for all users, and it is served in its order. So a user
//! who fills it makes everybody wait, however fast the broker accepts. Such a user is named to the
//! supervisor, who alone can keep somebody from connecting.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fdbroker_policy::Uid;
use tokio::sync::Notify;

use super::forgetful::Forgetful;
use crate::payer::Payer;

/// How many connections of a user may come to nothing within [`SPAN`].
const MOST: u32 = 500;
const SPAN: Duration = Duration::from_secs(1);
/// How many of these are one id's own at least before it is named: others for whom the same user pays may have no part
/// in the flood.
const OWN: u32 = 16;
/// How many users are named for whom the same one pays, within [`SPAN`].
const MOST_NAMED: usize = 16;
/// How many of them are counted.
const MOST_COUNTED: usize = 4096;

/// How long nothing is counted at first: connections were left while no worker accepted them.
const GRACE: Duration = Duration::from_secs(2);

/// What has come to nothing lately, by user.
pub(crate) struct Arrivals {
    counted_from: Instant,
    counts: RefCell<Forgetful<Payer, Count>>,
    /// Users that are to be named: the ids that the kernel sees, not who pays for them.
    floods: RefCell<BTreeSet<Uid>>,
    /// Told when there is one.
    flooded: Notify,
}

struct Count {
    since: Instant,
    number: u32,
    /// How many of them are each id's own.
    own: BTreeMap<Uid, u32>,
    named: BTreeSet<Uid>,
}

impl Arrivals {
    /// A worker has begun.
    pub(crate) fn new(now: Instant) -> Self {
        let (counts, floods, flooded) = (RefCell::default(), RefCell::default(), Notify::new());
        Self { counted_from: now + GRACE, counts, floods, flooded }
    }

    /// A connection of `uid`, on the account of `payer`, has come to nothing.
    pub(crate) fn came_to_nothing(&self, uid: Uid, payer: Payer, now: Instant) {
        if now < self.counted_from {
            return;
        }
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(payer, |count| count.is_recent(now));
        let count = count.or_insert(Count::new(now));
        if !count.is_recent(now) {
            *count = Count::new(now);
        }
        if count.is_flood_of(uid) {
            self.floods.borrow_mut().insert(uid);
            self.flooded.notify_one();
        }
    }

    /// Waits for a user of whom too many connections have come to nothing. Can be dropped.
    pub(crate) async fn next_flood(&self) -> Uid {
        loop {
            if let Some(uid) = self.floods.borrow_mut().pop_first() {
                return uid;
            }
            self.flooded.notified().await;
        }
    }
}

impl Count {
    fn new(now: Instant) -> Self {
        Self { since: now, number: 0, own: BTreeMap::new(), named: BTreeSet::new() }
    }

    /// Counts one more of `uid`; returns whether that id is to be named: all are a flood together, and enough of them
    /// are its own; not twice, and not too many.
    fn is_flood_of(&mut self, uid: Uid) -> bool {
        self.number = self.number.saturating_add(1);
        if self.own.len() >= MOST_COUNTED && !self.own.contains_key(&uid) {
            return false;
        }
        let own = self.own.entry(uid).or_default();
        *own = own.saturating_add(1);
        let is_flood = self.number >= MOST && *own >= OWN;
        is_flood && self.named.len() < MOST_NAMED && self.named.insert(uid)
    }

    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < SPAN
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const ALICE: Uid = Uid(1);
    const BOB: Uid = Uid(2);

    fn flood_of(arrivals: &Arrivals) -> Option<Uid> {
        match pin!(arrivals.next_flood()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(uid) => Some(uid),
            Poll::Pending => None,
        }
    }

    /// Those of a worker, and when it counts them.
    fn begun() -> (Arrivals, Instant) {
        let now = Instant::now();
        (Arrivals::new(now), now + GRACE)
    }

    #[test]
    fn what_was_left_before_the_worker_began_is_no_flood() {
        let (arrivals, now) = begun();
        let early = now - Duration::from_millis(1);
        (0..MOST).for_each(|_| arrivals.came_to_nothing(ALICE, Payer::named(1), early));
        assert_eq!(flood_of(&arrivals), None);
    }

    #[test]
    fn a_user_is_named_once_when_too_many_connections_have_come_to_nothing() {
        let (arrivals, now) = begun();
        (1..MOST).for_each(|_| arrivals.came_to_nothing(ALICE, Payer::named(1), now));
        arrivals.came_to_nothing(BOB, Payer::named(2), now);
        assert_eq!(flood_of(&arrivals), None);
        (0..MOST).for_each(|_| arrivals.came_to_nothing(ALICE, Payer::named(1), now));
        assert_eq!(flood_of(&arrivals), Some(ALICE));
        assert_eq!(flood_of(&arrivals), None, "it was told");
    }

    #[test]
    fn what_comes_to_nothing_over_a_long_time_is_no_flood() {
        let (arrivals, begin) = begun();
        for number in 0..10 * MOST {
            arrivals.came_to_nothing(ALICE, Payer::named(1), begin + SPAN / (MOST - 2) * number);
        }
        assert_eq!(flood_of(&arrivals), None);
    }

    #[test]
    fn a_user_who_goes_on_is_named_again() {
        let (arrivals, now) = begun();
        (0..MOST).for_each(|_| arrivals.came_to_nothing(ALICE, Payer::named(1), now));
        assert_eq!(flood_of(&arrivals), Some(ALICE));
        (0..MOST).for_each(|_| arrivals.came_to_nothing(ALICE, Payer::named(1), now + SPAN));
        assert_eq!(flood_of(&arrivals), Some(ALICE));
    }

    #[test]
    fn all_for_whom_one_user_pays_are_a_flood_together_and_those_who_take_part_are_named() {
        let (arrivals, now) = begun();
        let pays = Payer::named(1);
        let flood = |uid| (0..OWN).for_each(|_| arrivals.came_to_nothing(Uid(uid), pays, now));
        (0..MOST / OWN).for_each(|uid| flood(100_000 + uid));
        assert_eq!(flood_of(&arrivals), None);
        flood(7);
        assert_eq!((flood_of(&arrivals), flood_of(&arrivals)), (Some(Uid(7)), None));
        (0..1000).for_each(flood);
        let named = std::iter::from_fn(|| flood_of(&arrivals)).count();
        assert_eq!(named, MOST_NAMED - 1, "the list has room for others");
    }

    #[test]
    fn an_id_with_no_part_in_the_flood_of_its_payer_is_not_named() {
        let (arrivals, now) = begun();
        let pays = Payer::named(1);
        (0..MOST).for_each(|_| arrivals.came_to_nothing(ALICE, pays, now));
        assert_eq!(flood_of(&arrivals), Some(ALICE));
        (1..OWN).for_each(|_| arrivals.came_to_nothing(BOB, pays, now));
        assert_eq!(flood_of(&arrivals), None);
    }
}
