//! The refusals of all users.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use super::rates::Rates;
use super::together::Together;
use super::user::{User, WINDOW};
use crate::log::{OwnedRecord, Record};
use crate::payer::{Payer, Payers};

/// How many users are remembered; the refusals of further ones are counted together.
const USERS: usize = 1024;

/// How many times one user's rate all users together have, beyond the first few of each.
const ALL: u32 = 10;

/// The refusals of this second.
pub(in crate::audit) struct Repeats {
    rates: Rates,
    payers: Payers,
    users: HashMap<Payer, User>,
    /// Beyond the users that are remembered.
    others: Together,
    /// The records of all users in the second that began then.
    all: (Instant, u32),
    /// Hides how questions are hashed, so that no peer can provoke a collision with another one's.
    secret: RandomState,
}

impl Repeats {
    pub(in crate::audit) fn new(now: Instant) -> Self {
        Self {
            rates: Rates::default(),
            payers: Payers::default(),
            users: HashMap::new(),
            others: Together::default(),
            all: (now, 0),
            secret: RandomState::new(),
        }
    }

    /// Puts other rates in force, and others who pay for users.
    pub(in crate::audit) fn limit(&mut self, rates: Rates, payers: Payers) {
        self.rates = rates;
        self.payers = payers;
    }

    /// Whether a refusal is counted, and no record of its own.
    pub(in crate::audit) fn only_counts(&mut self, record: &Record<'_>, now: Instant) -> bool {
        let (key, payer) = (self.secret.hash_one(record.question()), self.payers.of(record.uid));
        if now.duration_since(self.all.0) >= WINDOW {
            self.all = (now, 0);
        }
        if self.users.len() >= USERS && !self.users.contains_key(&payer) {
            // Counts that have not been written stay.
            self.users.retain(|_, user| !user.is_over(now) || user.has_counted());
            if self.users.len() >= USERS {
                self.others.count(record, "more users were refused than are counted separately");
                return true;
            }
        }
        let crowded = self.all.1 >= self.rates.of_user.get().saturating_mul(ALL);
        let user = self.users.entry(payer).or_insert_with(|| User::new(now));
        let counts = user.only_counts(record, key, &self.rates, crowded, now);
        self.all.1 += u32::from(!counts);
        counts
    }

    /// Returns the counts whose second has passed by `now` (all, if that is `None`), and whether
    /// there is anything left to look at later.
    pub(in crate::audit) fn due(&mut self, now: Option<Instant>) -> (Vec<OwnedRecord>, bool) {
        let mut due = Vec::new();
        let Self { users, rates, .. } = self;
        users.retain(|_, user| {
            if now.is_some_and(|now| !user.is_over(now)) {
                return true;
            }
            due.extend(user.take_counts(now, rates));
            user.goes_on()
        });
        due.extend(self.others.take());
        (due, !self.users.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::{Duration, Instant};

    use fdbroker_policy::Uid;
    use fdbroker_wire::{Index, Slot};

    use super::super::user::{KINDS, SHOWN};
    use super::{ALL, Payers, Rates, Repeats, USERS};
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
        repeats.limit(Rates { of_user: rate, ..Rates::default() }, Payers::default());
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
        repeats.limit(Rates { of_user: rate, ..Rates::default() }, Payers::default());
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
        repeats.limit(Rates { of_rules, ..Rates::default() }, Payers::default());
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
        repeats.limit(Rates { of_rules, ..Rates::default() }, Payers::default());
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
        repeats.limit(Rates { of_user: rate, ..Rates::default() }, Payers::default());
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
