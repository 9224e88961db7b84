//! The refusals of one user.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::rates::Rates;
use super::together::Together;
use crate::log::{OwnedRecord, Record};

/// How many equal refusals of one user are records of their own, in one second.
pub(super) const SHOWN: u32 = 3;

pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// How many different refusals of one user are remembered; further ones are counted together.
pub(super) const KINDS: usize = 32;

/// Why refusals of a user that differ are counted together.
const TOO_MANY: &str = "more different refusals in a second than are counted separately";

/// The refusals of one user, in the second that began then.
pub(super) struct User {
    since: Instant,
    written: u32,
    by_rule: HashMap<String, u32>,
    seen: HashMap<u64, Seen>,
    more: Together,
}

/// Equal refusals.
#[derive(Default)]
struct Seen {
    shown: u32,
    /// The record, once there is something to count.
    counted: Option<OwnedRecord>,
}

impl User {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            written: 0,
            by_rule: HashMap::new(),
            seen: HashMap::new(),
            more: Together::default(),
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= WINDOW
    }

    /// Whether there is anything left to look at later.
    pub(super) fn goes_on(&self) -> bool {
        !self.seen.is_empty()
    }

    pub(super) fn has_counted(&self) -> bool {
        !self.more.0.is_empty() || self.seen.values().any(|seen| seen.counted.is_some())
    }

    pub(super) fn only_counts(
        &mut self,
        record: &Record<'_>,
        key: u64,
        rates: &Rates,
        crowded: bool,
        now: Instant,
    ) -> bool {
        if self.is_over(now) && !self.has_counted() {
            *self = Self::new(now);
        }
        if self.seen.len() >= KINDS && !self.seen.contains_key(&key) {
            self.more.count(record, TOO_MANY);
            return true;
        }
        let shown = self.seen.get(&key).map_or(0, |seen| seen.shown);
        let shows = shown < SHOWN
            && self.has_room(rates, crowded)
            && self.is_within_rate_of_rule(record, rates);
        let seen = self.seen.entry(key).or_default();
        if shows {
            seen.shown += 1;
            self.written += 1;
            return false;
        }
        match &mut seen.counted {
            Some(counted) => counted.add(record),
            None => seen.counted = Some(record.owned()),
        }
        true
    }

    /// Whether one more record may be written in this second.
    pub(super) fn has_room(&self, rates: &Rates, crowded: bool) -> bool {
        self.written < rates.of_user.get() && (!crowded || self.written < SHOWN)
    }

    /// Returns the counts of its second, and begins the next one with those that go on. They are records of
    /// the next one.
    pub(super) fn take_counts(&mut self, now: Option<Instant>, rates: &Rates) -> Vec<OwnedRecord> {
        let mut counts = Vec::new();
        self.seen.retain(|_, seen| {
            let counted = seen.counted.take();
            // While it goes on, each second is one record with its count.
            let goes_on = counted.is_some() && now.is_some();
            counts.extend(counted);
            goes_on
        });
        self.since = now.unwrap_or(self.since);
        self.by_rule.clear();
        let told = self.within_rates(counts, rates);
        self.written = u32::try_from(told.len()).unwrap_or(u32::MAX);
        told
    }

    /// Puts the smallest counts together, until no more are left than the rates allow; at least one of each
    /// kind and verdict.
    pub(super) fn within_rates(
        &mut self,
        mut counts: Vec<OwnedRecord>,
        rates: &Rates,
    ) -> Vec<OwnedRecord> {
        counts.sort_by_key(|counted| Reverse(counted.count));
        counts.retain(|counted| {
            let within = self.is_within_rate_of_rule(&counted.borrow(), rates);
            if !within {
                self.more.count(&counted.borrow(), TOO_MANY);
            }
            within
        });
        let most = usize::try_from(rates.of_user.get()).unwrap_or(usize::MAX);
        while counts.len() + self.more.0.len() > most
            && let Some(counted) = counts.pop()
        {
            self.more.count(&counted.borrow(), TOO_MANY);
        }
        counts.extend(self.more.take());
        counts
    }

    /// Whether another record that a rule decided is within its rate, if it has one; then it is one more.
    pub(super) fn is_within_rate_of_rule(&mut self, record: &Record<'_>, rates: &Rates) -> bool {
        let rate = record.rule.and_then(|rule| Some((rule, rates.of_rules.get(rule)?.get())));
        let Some((rule, rate)) = rate else { return true };
        let written = self.by_rule.entry(rule.to_owned()).or_default();
        let within = *written < rate;
        *written += u32::from(within);
        within
    }
}
