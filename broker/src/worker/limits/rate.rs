//! How many requests a user may make in a second: of the broker, and by a rule.
//!
//! A user who asks faster is not refused but waits, and nobody else waits for that. A second's
//! worth may be asked at once. What is reserved is a place in time: each request is due when those
//! before it have had theirs.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::forgetful::Forgetful;
use crate::payer::Payer;

/// How much may be asked at once: what is allowed in this time.
const BURST: Duration = Duration::from_secs(1);
/// The longest that one request waits; further ones of a user with very many connections are due no later.
const LONGEST: Duration = Duration::from_secs(60);

/// When the next request of each user is due, in all and by a rule.
#[derive(Default)]
pub(crate) struct Rates(RefCell<Forgetful<(Payer, Option<String>), Instant>>);

impl Rates {
    /// Reserves so many requests of a user, of the broker or by a `rule`. Returns how long the user has to
    /// wait for them.
    pub(crate) fn reserve(
        &self,
        payer: Payer,
        rule: Option<&str>,
        rate: NonZeroU32,
        number: usize,
        now: Instant,
    ) -> Duration {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let mut due = self.0.borrow_mut();
        let due = due.entry((payer, rule.map(str::to_owned)), |due| *due > now).or_insert(now);
        let took = Duration::from_secs(1) / rate.get() * number;
        *due = ((*due).max(now) + took).min(now + BURST + LONGEST);
        due.duration_since(now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::super::forgetful::MANY;
    use super::*;

    const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();
    const ALICE: Payer = Payer::named(1);
    const BOB: Payer = Payer::named(2);

    #[test]
    fn a_seconds_worth_is_served_at_once_and_more_in_time() {
        let (rates, now) = (Rates::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(rates.reserve(ALICE, None, TEN, 1, now), Duration::ZERO);
        }
        for later in 1..5 {
            let wait = rates.reserve(ALICE, None, TEN, 1, now);
            assert_eq!(wait, Duration::from_millis(100) * later);
        }
        let later = now + Duration::from_secs(3);
        assert_eq!(rates.reserve(ALICE, None, TEN, 10, later), Duration::ZERO, "after a pause");
    }

    #[test]
    fn many_slots_count_as_many_requests() {
        let (rates, now) = (Rates::default(), Instant::now());
        assert_eq!(rates.reserve(ALICE, None, TEN, 30, now), Duration::from_secs(2));
    }

    #[test]
    fn neither_another_user_nor_another_rule_waits() {
        let (rates, now) = (Rates::default(), Instant::now());
        assert!(rates.reserve(ALICE, Some("one"), TEN, 100, now) > Duration::ZERO);
        assert_eq!(rates.reserve(ALICE, Some("other"), TEN, 1, now), Duration::ZERO);
        assert_eq!(rates.reserve(ALICE, None, TEN, 1, now), Duration::ZERO);
        assert_eq!(rates.reserve(BOB, Some("one"), TEN, 1, now), Duration::ZERO);
    }

    #[test]
    fn no_request_waits_longer_than_a_minute() {
        let (rates, now) = (Rates::default(), Instant::now());
        let one = NonZeroU32::MIN;
        assert_eq!(rates.reserve(ALICE, None, one, 100_000, now), LONGEST);
        assert_eq!(rates.reserve(ALICE, None, one, 1, now), LONGEST);
    }

    #[test]
    fn who_asked_for_little_is_forgotten() {
        let (rates, now) = (Rates::default(), Instant::now());
        for uid in 0..10_000 {
            let later = now + Duration::from_millis(uid.into());
            let _ = rates.reserve(Payer::named(uid), None, TEN, 1, later);
        }
        assert!(rates.0.borrow().values().count() <= MANY);
    }
}
