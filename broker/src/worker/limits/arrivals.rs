//! Connections that came to nothing: the peer had left before it was served, or was turned away.
//!
//! The kernel's queue of the listening socket is one for all users, and it is served in its order. So a user
//! who fills it makes everybody wait, however fast the broker accepts. Such a user is named to the
//! supervisor, who alone can keep somebody from connecting.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fdbroker_policy::Uid;
use tokio::sync::Notify;

use super::forgetful::Forgetful;
use crate::payer::Payer;

/// How many connections of a user may come to nothing within [`SPAN`].
const MOST: u32 = 500;
const SPAN: Duration = Duration::from_secs(1);
/// How many users are named for whom the same one pays, within [`SPAN`].
const MOST_NAMED: usize = 16;

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
        count.number = count.number.saturating_add(1);
        // Others for whom the same user pays take part in the flood.
        if count.number >= MOST && count.name(uid) {
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
        Self { since: now, number: 0, named: BTreeSet::new() }
    }

    /// Notes that a user is named; returns whether it is to be: not yet, and not too many are.
    fn name(&mut self, uid: Uid) -> bool {
        self.named.len() < MOST_NAMED && self.named.insert(uid)
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
    fn all_for_whom_one_user_pays_are_a_flood_together_and_each_is_named() {
        let (arrivals, now) = begun();
        let pays = Payer::named(1);
        (1..MOST).for_each(|uid| arrivals.came_to_nothing(Uid(100_000 + uid), pays, now));
        assert_eq!(flood_of(&arrivals), None);
        for uid in [7, 8, 7].map(Uid) {
            arrivals.came_to_nothing(uid, pays, now);
        }
        assert_eq!((flood_of(&arrivals), flood_of(&arrivals)), (Some(Uid(7)), Some(Uid(8))));
        (0..1000).for_each(|uid| arrivals.came_to_nothing(Uid(uid), pays, now));
        let named = std::iter::from_fn(|| flood_of(&arrivals)).count();
        assert_eq!(named, MOST_NAMED - 2, "the list has room for others");
    }
}
