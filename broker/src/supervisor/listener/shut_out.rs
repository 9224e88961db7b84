//! Users who may not connect for a while, since they connected and left faster than the broker accepts.
//!
//! The first time is short; each further one within [`REMEMBERED`] is twice as long. What such a user has
//! connected before goes on. Root is never kept out, since nothing keeps it from a file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fdbroker_policy::Uid;

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);
/// How long after that a user's next time counts as a further one.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many users can be shut out at once, and remembered beside them: file systems allow some hundred entries.
const MOST: usize = 256;

/// Who is shut out, and who was.
#[derive(Default)]
pub(super) struct ShutOut {
    users: BTreeMap<Uid, Time>,
    /// Whom the file keeps out now.
    pub(super) written: BTreeSet<Uid>,
    /// That it does not work has been told.
    pub(super) told: bool,
}

#[derive(Clone, Copy)]
struct Time {
    until: Instant,
    long: Duration,
}

impl ShutOut {
    /// Shuts a user out; returns for how long, or `None` if that user already is, or too many are.
    pub(super) fn add(&mut self, user: Uid, now: Instant) -> Option<Duration> {
        self.users.retain(|_, time| time.until + REMEMBERED > now);
        let before = self.users.get(&user).copied();
        if before.is_some_and(|time| time.until > now) {
            return None;
        }
        if before.is_none() && self.users.len() >= MOST {
            return None;
        }
        let long = before.map_or(FIRST, |time| (time.long * 2).min(LONGEST));
        self.users.insert(user, Time { until: now + long, long });
        Some(long)
    }

    /// Who is shut out at a time.
    pub(super) fn now_out(&self, now: Instant) -> BTreeSet<Uid> {
        let out = self.users.iter().filter(|(_, time)| time.until > now);
        out.map(|(user, _)| *user).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Uid = Uid(1000);

    #[test]
    fn each_further_time_is_longer_until_it_is_forgotten() {
        let (mut shut_out, mut now) = (ShutOut::default(), Instant::now());
        let mut long = Vec::new();
        for _ in 0..9 {
            let time = shut_out.add(ALICE, now).unwrap();
            long.push(time.as_secs());
            now += time;
        }
        assert_eq!(long, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(shut_out.add(ALICE, now + REMEMBERED), Some(FIRST));
    }

    #[test]
    fn a_user_who_is_out_is_out_once() {
        let (mut shut_out, now) = (ShutOut::default(), Instant::now());
        assert!(shut_out.add(ALICE, now).is_some());
        assert_eq!(shut_out.add(ALICE, now), None);
        assert_eq!(shut_out.now_out(now), [ALICE].into());
        assert!(shut_out.now_out(now + FIRST).is_empty());
    }

    #[test]
    fn so_many_users_can_be_out_and_no_more() {
        let (mut shut_out, now) = (ShutOut::default(), Instant::now());
        let most = u32::try_from(MOST).unwrap();
        assert!((0..most).all(|uid| shut_out.add(Uid(uid), now).is_some()));
        assert_eq!(shut_out.add(Uid(most), now), None);
    }
}
