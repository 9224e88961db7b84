//! Refusals that repeat: the first few get records of their own, the others are counted, second by
//! second.
//!
//! Refusals are equal if user, unit, tag, right, rule and reason are. Neither the process nor the
//! slot within the tag matters: the count has the span of the slots. No user gets more than a set
//! number of records a second, counts included. Refusals beyond that are counted, and the count is
//! recorded. If there are more counts than that, the smallest become one for each kind and verdict.
//!
//! Bounded for each user: one user's requests never make another user's count come early or late.
//! No count is lost.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use fdbroker_policy::{Policy, Settings, Uid};

use crate::log::{Kind, OwnedRecord, Record, Verdict};

/// How many equal refusals of one user are records of their own, in one second.
const SHOWN: u32 = 3;
const WINDOW: Duration = Duration::from_secs(1);
/// How many different refusals of one user are remembered; further ones are counted together.
const KINDS: usize = 32;
/// How many users are remembered; the refusals of further ones are counted together.
const USERS: usize = 1024;
/// How many times one user's rate all users together have, beyond the first few of each.
const ALL: u32 = 10;

/// How many records of refusals there may be in a second, as the policy says.
pub(super) struct Rates {
    /// Of one user.
    of_user: NonZeroU32,
    /// Of one user by one rule, by the rule's id.
    of_rules: HashMap<String, NonZeroU32>,
}

/// The refusals of this second.
pub(super) struct Repeats {
    rates: Rates,
    users: HashMap<Uid, User>,
    /// Beyond the users that are remembered.
    others: Together,
    /// The records of all users in the second that began then.
    all: (Instant, u32),
    /// Hides how questions are hashed, so that no peer can provoke a collision with another one's.
    secret: RandomState,
}

/// The refusals of one user, in the second that began then.
struct User {
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

/// Counts of refusals that differ.
#[derive(Default)]
struct Together(HashMap<(Kind, Verdict), OwnedRecord>);

impl Rates {
    pub(super) fn of(policy: &Policy) -> Self {
        let rules = policy.rules_with_rates();
        let of_rules =
            rules.filter_map(|(id, rates)| Some((id.to_owned(), rates.records_per_second?)));
        let of_user = policy.settings().records_per_second;
        Self { of_user, of_rules: of_rules.collect() }
    }
}

impl Default for Rates {
    fn default() -> Self {
        let of_user = Settings::default().records_per_second;
        Self { of_user, of_rules: HashMap::new() }
    }
}

impl Repeats {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rates: Rates::default(),
            users: HashMap::new(),
            others: Together::default(),
            all: (now, 0),
            secret: RandomState::new(),
        }
    }

    /// Puts other rates in force.
    pub(super) fn limit(&mut self, rates: Rates) {
        self.rates = rates;
    }

    /// Whether a refusal is counted, and no record of its own.
    pub(super) fn only_counts(&mut self, record: &Record<'_>, now: Instant) -> bool {
        let key = self.secret.hash_one(record.question());
        if now.duration_since(self.all.0) >= WINDOW {
            self.all = (now, 0);
        }
        if self.users.len() >= USERS && !self.users.contains_key(&record.uid) {
            // Counts that have not been written stay.
            self.users.retain(|_, user| !user.is_over(now) || user.has_counted());
            if self.users.len() >= USERS {
                self.others.count(record, "more users were refused than are counted separately");
                return true;
            }
        }
        let crowded = self.all.1 >= self.rates.of_user.get().saturating_mul(ALL);
        let user = self.users.entry(record.uid).or_insert_with(|| User::new(now));
        let counts = user.only_counts(record, key, &self.rates, crowded, now);
        self.all.1 += u32::from(!counts);
        counts
    }

    /// Returns the counts whose second has passed by `now` (all, if that is `None`), and whether
    /// there is anything left to look at later.
    pub(super) fn due(&mut self, now: Option<Instant>) -> (Vec<OwnedRecord>, bool) {
        let mut due = Vec::new();
        let Self { users, rates, .. } = self;
        users.retain(|_, user| {
            if now.is_some_and(|now| !user.is_over(now)) {
                return true;
            }
            due.extend(user.take_counts(now, rates));
            !user.seen.is_empty()
        });
        due.extend(self.others.take());
        (due, !self.users.is_empty())
    }
}

impl User {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            written: 0,
            by_rule: HashMap::new(),
            seen: HashMap::new(),
            more: Together::default(),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= WINDOW
    }

    fn has_counted(&self) -> bool {
        !self.more.0.is_empty() || self.seen.values().any(|seen| seen.counted.is_some())
    }

    fn only_counts(
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
    fn has_room(&self, rates: &Rates, crowded: bool) -> bool {
        self.written < rates.of_user.get() && (!crowded || self.written < SHOWN)
    }

    /// Returns the counts of its second, and begins the next one with those that go on. They are records of
    /// the next one.
    fn take_counts(&mut self, now: Option<Instant>, rates: &Rates) -> Vec<OwnedRecord> {
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
    fn within_rates(&mut self, mut counts: Vec<OwnedRecord>, rates: &Rates) -> Vec<OwnedRecord> {
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
    fn is_within_rate_of_rule(&mut self, record: &Record<'_>, rates: &Rates) -> bool {
        let rate = record.rule.and_then(|rule| Some((rule, rates.of_rules.get(rule)?.get())));
        let Some((rule, rate)) = rate else { return true };
        let written = self.by_rule.entry(rule.to_owned()).or_default();
        let within = *written < rate;
        *written += u32::from(within);
        within
    }
}

/// Why refusals of a user that differ are counted together.
const TOO_MANY: &str = "more different refusals in a second than are counted separately";

impl Together {
    fn count(&mut self, record: &Record<'_>, why: &str) {
        match self.0.get_mut(&(record.kind, record.verdict)) {
            Some(counted) => counted.add_any(record, why),
            None => drop(self.0.insert((record.kind, record.verdict), record.owned())),
        }
    }

    fn take(&mut self) -> impl Iterator<Item = OwnedRecord> + use<> {
        std::mem::take(&mut self.0).into_values()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::{Duration, Instant};

    use fdbroker_policy::Uid;
    use fdbroker_wire::{Index, Slot};

    use super::{ALL, KINDS, Rates, Repeats, SHOWN, USERS};
    use crate::log::{Name, OwnedRecord, Record, Subject, Verdict, sample, sample_of_a_run};

    fn many(times: u32, mut step: impl FnMut() -> bool) {
        for _ in 0..times {
            step();
        }
    }

    fn begin() -> (Repeats, Instant) {
        let start = Instant::now();
        (Repeats::new(start), start)
    }

    fn of(uid: u32) -> Record<'static> {
        Record { uid: Uid(uid), ..sample(7) }
    }

    fn about(tag: i16, index: i32) -> Record<'static> {
        let slot = Slot::new(tag, index).unwrap();
        Record { subject: Subject::Slot(slot), name: Name::Indexed("web", slot.index), ..sample(7) }
    }

    fn counts(records: &[OwnedRecord]) -> Vec<u32> {
        records.iter().map(|record| record.count).collect()
    }

    fn sum(records: &[OwnedRecord]) -> u32 {
        counts(records).into_iter().sum()
    }

    #[test]
    fn no_count_is_lost_where_users_are_more_than_are_told_apart() {
        let (mut repeats, start) = begin();
        let (users, each) = (u32::try_from(USERS).unwrap(), 10);
        let mut written = 0;
        for (second, first) in [(0, 0), (2, users)] {
            let now = start + Duration::from_secs(second);
            for uid in first..first + users {
                written +=
                    (0..each).map(|_| u32::from(!repeats.only_counts(&of(uid), now))).sum::<u32>();
            }
        }
        let (told, _) = repeats.due(None);
        assert_eq!(written + sum(&told), 2 * users * each);
    }

    #[test]
    fn a_thousand_equal_refusals_in_a_second_are_three_records_and_a_count() {
        let (mut repeats, start) = begin();
        let own = (0..1000).filter(|_| !repeats.only_counts(&sample(7), start)).count();
        assert_eq!(own, 3);
        assert!(repeats.due(Some(start)).0.is_empty(), "the second has not passed");
        let (told, more) = repeats.due(Some(start + Duration::from_secs(1)));
        assert_eq!(counts(&told), [997]);
        assert!(more);
    }

    #[test]
    fn a_loop_over_slots_is_one_count_with_its_span() {
        let (mut repeats, start) = begin();
        let own = (0..5000).filter(|index| !repeats.only_counts(&about(1, *index), start)).count();
        assert_eq!(own, 3);
        let (told, _) = repeats.due(None);
        assert_eq!(counts(&told), [4997]);
        let record = told[0].borrow();
        assert_eq!(
            (record.subject.to_string(), record.subject.slots()),
            ("1/3-4999".into(), Some(4997))
        );
        assert_eq!(record.name.to_string(), "web/3-4999");
    }

    #[test]
    fn resources_of_a_tag_are_equal_and_names_of_nothing_are_not() {
        let (mut repeats, start) = begin();
        let resource = |index| Record {
            name: Name::Plain(if index % 2 == 0 { "a" } else { "b" }),
            ..about(1, index)
        };
        let own = (0..100).filter(|index| !repeats.only_counts(&resource(*index), start)).count();
        assert_eq!(own, 3);
        let tried = |name| Record { name: Name::Plain(name), ..sample(7) };
        many(5, || repeats.only_counts(&tried("one"), start));
        assert!(!repeats.only_counts(&tried("other"), start));
    }

    #[test]
    fn runs_of_slots_are_counted_with_their_span_and_their_number() {
        let (mut repeats, start) = begin();
        let run = Record { verdict: Verdict::Refused, ..sample_of_a_run() };
        many(10, || repeats.only_counts(&run, start));
        let Subject::Run(first, last) = run.subject else { panic!("{run:?}") };
        let longer = Index::new(last.get() + 1).unwrap();
        let other = Record { subject: Subject::Run(first, longer), ..run };
        assert!(repeats.only_counts(&other, start));
        let (told, _) = repeats.due(None);
        assert_eq!(counts(&told), [8]);
        let subject = told[0].borrow().subject;
        assert_eq!(
            (subject.to_string(), subject.slots()),
            ("1/10-263".into(), Some(7 * 253 + 254))
        );
    }

    #[test]
    fn one_slot_that_was_asked_for_often_counts_as_often_when_others_join_it() {
        let (mut repeats, start) = begin();
        many(10, || repeats.only_counts(&about(1, 5), start));
        assert!(repeats.only_counts(&about(1, 6), start));
        let (told, _) = repeats.due(None);
        assert_eq!(counts(&told), [8]);
        let subject = told[0].borrow().subject;
        assert_eq!((subject.to_string(), subject.slots()), ("1/5-6".into(), Some(8)));
    }

    #[test]
    fn one_slot_that_is_asked_for_again_and_again_stays_one_slot() {
        let (mut repeats, start) = begin();
        many(10, || repeats.only_counts(&about(1, 5), start));
        let (told, _) = repeats.due(None);
        assert_eq!(told[0].borrow().subject, about(1, 5).subject);
        assert_eq!(told[0].borrow().name.to_string(), "web/5");
    }

    #[test]
    fn while_it_goes_on_each_second_is_one_record_and_afterwards_all_is_forgotten() {
        let (mut repeats, start) = begin();
        let second = |number| start + Duration::from_secs(number);
        many(10, || repeats.only_counts(&sample(7), start));
        repeats.due(Some(second(1)));
        assert!((0..10).all(|_| repeats.only_counts(&sample(7), second(1))));
        assert_eq!(repeats.due(Some(second(2))).0[0].count, 10);
        let (told, more) = repeats.due(Some(second(3)));
        assert!(told.is_empty() && !more);
        assert!(!repeats.only_counts(&sample(7), second(3)));
    }

    #[test]
    fn another_process_of_the_user_is_counted_with_it_and_another_user_is_not() {
        let (mut repeats, start) = begin();
        many(100, || repeats.only_counts(&sample(7), start));
        assert!(repeats.only_counts(&sample(8), start));
        assert!(!repeats.only_counts(&of(99), start));
    }

    #[test]
    fn a_user_has_so_many_records_a_second_and_all_are_counted() {
        let (mut repeats, start) = begin();
        let rate = NonZeroU32::new(20).unwrap();
        repeats.limit(Rates { of_user: rate, ..Rates::default() });
        let written = (0..2000).filter(|tag| !repeats.only_counts(&about(*tag, 0), start)).count();
        assert_eq!(written, 20);
        assert!(!repeats.only_counts(&of(99), start), "others have theirs");
        let (told, _) = repeats.due(None);
        assert!(told.len() <= KINDS + 1, "{}", told.len());
        assert_eq!(sum(&told), 2000 - 20);
    }

    #[test]
    fn counts_are_part_of_a_users_rate() {
        let (mut repeats, start) = begin();
        let rate = NonZeroU32::new(10).unwrap();
        repeats.limit(Rates { of_user: rate, ..Rates::default() });
        for second in 0..5 {
            let now = start + Duration::from_secs(second);
            let told = repeats.due(Some(now)).0;
            let mut asks = |record: &Record<'_>| !repeats.only_counts(record, now);
            // One question is asked more often than the others.
            let often = (0..50).filter(|_| asks(&about(0, 0))).count();
            let rarely = (0..200).filter(|tag| asks(&about(tag % 40, 0))).count();
            assert!(often + rarely + told.len() <= 10, "{often} {rarely} {}", told.len());
            let of_it = |record: &OwnedRecord| record.borrow().subject == about(0, 0).subject;
            assert!(second == 0 || told.iter().any(of_it), "the largest stays by itself");
        }
    }

    #[test]
    fn counts_are_part_of_a_rules_rate() {
        let (mut repeats, start) = begin();
        let of_rules = [("noisy".to_owned(), NonZeroU32::new(2).unwrap())].into();
        repeats.limit(Rates { of_rules, ..Rates::default() });
        let noisy = |tag| Record { rule: Some("noisy"), ..about(tag, 0) };
        many(9, || repeats.only_counts(&about(1, 0), start));
        for tag in 0..9 {
            repeats.only_counts(&noisy(tag), start);
        }
        let now = start + Duration::from_secs(1);
        let told = repeats.due(Some(now)).0;
        assert_eq!(sum(&told), 6 + 7);
        let of_rule = told.iter().filter(|record| record.borrow().rule == Some("noisy")).count();
        assert_eq!(of_rule, 3, "two, and the rest together");
        assert!(repeats.only_counts(&noisy(100), now));
        assert!(!repeats.only_counts(&about(100, 0), now));
    }

    #[test]
    fn a_rule_can_have_a_rate_of_its_own() {
        let (mut repeats, start) = begin();
        let of_rules = [("noisy".to_owned(), NonZeroU32::MIN)].into();
        repeats.limit(Rates { of_rules, ..Rates::default() });
        let noisy = |tag| Record { rule: Some("noisy"), ..about(tag, 0) };
        let written = (0..9).filter(|tag| !repeats.only_counts(&noisy(*tag), start)).count();
        assert_eq!(written, 1);
        assert!(!repeats.only_counts(&about(1, 0), start));
        assert_eq!(sum(&repeats.due(None).0), 8);
    }

    #[test]
    fn many_users_together_leave_each_the_first_few() {
        let (mut repeats, start) = begin();
        let rate = NonZeroU32::new(10).unwrap();
        repeats.limit(Rates { of_user: rate, ..Rates::default() });
        let asks = |repeats: &mut Repeats, uid, tag| {
            !repeats.only_counts(&Record { uid: Uid(uid), ..about(tag, 0) }, start)
        };
        let mut written = 0;
        for uid in 0..40 {
            written += (0..20).filter(|tag| asks(&mut repeats, uid, *tag)).count();
        }
        let all = usize::try_from(10 * ALL).unwrap();
        assert_eq!(written, all + 30 * usize::try_from(SHOWN).unwrap());
        assert_eq!(sum(&repeats.due(None).0) as usize, 40 * 20 - written);
    }

    #[test]
    fn of_more_users_than_are_remembered_no_count_is_lost() {
        let (mut repeats, start) = begin();
        let users = u32::try_from(USERS).unwrap() + 50;
        let written = (0..users).filter(|uid| !repeats.only_counts(&of(*uid), start)).count();
        assert_eq!(written, USERS);
        assert!(repeats.users.len() <= USERS);
        assert_eq!(sum(&repeats.due(None).0), 50);
    }

    #[test]
    fn at_the_end_every_count_is_told() {
        let (mut repeats, start) = begin();
        many(5, || repeats.only_counts(&sample(7), start));
        let (told, more) = repeats.due(None);
        assert_eq!(told[0].count, 2);
        assert!(!more);
    }
}
