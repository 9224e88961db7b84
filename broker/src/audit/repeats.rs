//! Refusals that repeat: the first few are records, the others a count, second by second.
//!
//! Counted for each process and each question apart: one peer's flood holds back nobody else's
//! records. Bounded: of more different refusals than are remembered, the counts are written early.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::log::{OwnedRecord, Record};

/// How many equal refusals of one process are records of their own, in one second.
const SHOWN: u32 = 3;
const WINDOW: Duration = Duration::from_secs(1);
/// How many different refusals are remembered.
const REMEMBERED: usize = 1024;

#[derive(Default)]
pub(super) struct Repeats {
    /// By a hash under a secret of this process, which no peer can aim at.
    seen: HashMap<u64, Seen>,
    secret: RandomState,
    /// Counts that had to make room.
    early: Vec<OwnedRecord>,
}

struct Seen {
    since: Instant,
    shown: u32,
    /// The record, once there is something to count.
    counted: Option<OwnedRecord>,
}

impl Repeats {
    /// Whether a refusal is counted, and no record of its own.
    pub(super) fn only_counts(&mut self, record: &Record<'_>, now: Instant) -> bool {
        let key = self.secret.hash_one(record.question());
        if self.seen.len() >= REMEMBERED && !self.seen.contains_key(&key) {
            self.early.extend(self.seen.drain().filter_map(|(_, seen)| seen.counted));
        }
        let new = || Seen { since: now, shown: 0, counted: None };
        let seen = self.seen.entry(key).or_insert_with(new);
        if now.duration_since(seen.since) >= WINDOW && seen.counted.is_none() {
            *seen = new();
        }
        if seen.shown < SHOWN {
            seen.shown += 1;
            return false;
        }
        match &mut seen.counted {
            Some(counted) => counted.count = counted.count.saturating_add(1),
            None => seen.counted = Some(record.owned()),
        }
        true
    }

    /// The counts whose second has passed by `now` (all, where there is none), and whether there
    /// is anything left to look at later.
    pub(super) fn due(&mut self, now: Option<Instant>) -> (Vec<OwnedRecord>, bool) {
        let mut due = std::mem::take(&mut self.early);
        self.seen.retain(|_, seen| {
            if now.is_some_and(|now| now.duration_since(seen.since) < WINDOW) {
                return true;
            }
            let counted = seen.counted.take();
            // While it goes on, each second is one record with its count.
            let goes_on = counted.is_some() && now.is_some();
            seen.since = now.unwrap_or(seen.since);
            due.extend(counted);
            goes_on
        });
        (due, !self.seen.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use fdbroker_wire::Index;

    use super::{REMEMBERED, Repeats};
    use crate::log::{Record, Subject, Verdict, sample, sample_of_a_run};

    fn many(times: u32, mut step: impl FnMut() -> bool) {
        for _ in 0..times {
            step();
        }
    }

    #[test]
    fn a_thousand_equal_refusals_in_a_second_are_three_records_and_a_count() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let own = (0..1000).filter(|_| !repeats.only_counts(&sample(7), start)).count();
        assert_eq!(own, 3);
        assert!(repeats.due(Some(start)).0.is_empty(), "the second has not passed");
        let (counts, more) = repeats.due(Some(start + Duration::from_secs(1)));
        assert_eq!(counts.iter().map(|record| record.count).collect::<Vec<_>>(), [997]);
        assert!(more);
    }

    #[test]
    fn the_same_run_of_slots_is_counted_and_another_one_is_not() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let run = Record { verdict: Verdict::Refused, ..sample_of_a_run() };
        many(10, || repeats.only_counts(&run, start));
        let Subject::Run(first, last) = run.subject else { panic!("{run:?}") };
        let shorter = Index::new(last.get() - 1).unwrap();
        let other = Record { subject: Subject::Run(first, shorter), ..run };
        assert!(!repeats.only_counts(&other, start));
        let (counts, _) = repeats.due(None);
        assert_eq!(counts.iter().map(|record| record.count).collect::<Vec<_>>(), [7]);
        assert_eq!(counts[0].borrow().subject, run.subject);
    }

    #[test]
    fn while_it_goes_on_each_second_is_one_record_and_afterwards_all_is_forgotten() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let second = |number| start + Duration::from_secs(number);
        many(10, || repeats.only_counts(&sample(7), start));
        repeats.due(Some(second(1)));
        assert!((0..10).all(|_| repeats.only_counts(&sample(7), second(1))));
        assert_eq!(repeats.due(Some(second(2))).0[0].count, 10);
        let (counts, more) = repeats.due(Some(second(3)));
        assert!(counts.is_empty() && !more);
        assert!(!repeats.only_counts(&sample(7), second(3)));
    }

    #[test]
    fn the_refusals_of_another_process_are_records_all_the_while() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        many(100, || repeats.only_counts(&sample(7), start));
        assert!(!repeats.only_counts(&sample(8), start));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for_and_no_count_is_lost() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        many(5, || repeats.only_counts(&sample(1), start));
        for pid in 2..=i32::try_from(REMEMBERED).unwrap() + 1 {
            repeats.only_counts(&sample(pid), start);
        }
        assert!(repeats.seen.len() <= REMEMBERED);
        assert_eq!(repeats.due(None).0[0].count, 2);
    }

    #[test]
    fn at_the_end_every_count_is_told() {
        let mut repeats = Repeats::default();
        many(5, || repeats.only_counts(&sample(7), Instant::now()));
        let (counts, more) = repeats.due(None);
        assert_eq!(counts[0].count, 2);
        assert!(!more);
    }
}
