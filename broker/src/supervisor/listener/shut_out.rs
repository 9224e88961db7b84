//! Users who may not connect for a while, since they connected and left faster than the broker accepts.
//!
//! The first time is short; each further one within [`REMEMBERED`] is twice as long. What such a user has
//! connected before goes on. Root is never kept out, since nothing keeps it from a file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fdbroker_policy::Uid;

use crate::payer::Payer;

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);
/// How long after that a user's next time counts as a further one.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many users can be shut out at once, and remembered beside them: file systems allow some hundred entries.
const MOST: usize = 256;
/// How many of these for whom the same user pays.
const MOST_OF_A_PAYER: usize = MOST / 4;
/// How long after that connections of such a user may still come: they were in the queue.
const QUEUED: Duration = Duration::from_secs(2);

/// Who is shut out, and who was.
#[derive(Default)]
pub(super) struct ShutOut {
    users: BTreeMap<Uid, Time>,
    /// Whom the file keeps out now.
    pub(super) written: BTreeSet<Uid>,
}

#[derive(Clone, Copy)]
struct Time {
    payer: Payer,
    until: Instant,
    long: Duration,
    /// No entry can be made for this user.
    in_vain: bool,
    /// That the user connects all the same has been told.
    told: bool,
}

/// What becomes of a user who floods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Added {
    /// It is shut out for so long.
    For(Duration),
    /// It already is. What was in the queue still comes.
    Already,
    /// It already is, and goes on connecting all the same.
    GoesOn,
    /// Too many are shut out, or too many for whom the same user pays.
    TooMany,
}

impl ShutOut {
    /// Shuts a user out.
    pub(super) fn add(&mut self, user: Uid, payer: Payer, now: Instant) -> Added {
        self.users.retain(|_, time| time.until + REMEMBERED > now);
        let before = self.users.get_mut(&user);
        if let Some(time) = before.filter(|time| time.until > now) {
            let is_new = time.until + QUEUED < now + time.long;
            let goes_on = is_new && !time.in_vain && !std::mem::replace(&mut time.told, true);
            return if goes_on { Added::GoesOn } else { Added::Already };
        }
        if !self.users.contains_key(&user) && !self.make_room(payer, now) {
            return Added::TooMany;
        }
        let before = self.users.get(&user);
        let long = before.map_or(FIRST, |time| (time.long * 2).min(LONGEST));
        let time = Time { payer, until: now + long, long, in_vain: false, told: false };
        self.users.insert(user, time);
        Added::For(long)
    }

    /// Makes room for one more; returns whether there is any. A user that is only remembered has to go first.
    fn make_room(&mut self, payer: Payer, now: Instant) -> bool {
        let own = self.users.values().filter(|time| time.payer == payer).count();
        let is_full = own >= MOST_OF_A_PAYER;
        if !is_full && self.users.len() < MOST {
            return true;
        }
        let of_it = |time: &Time| !is_full || time.payer == payer;
        let remembered = self.users.iter().filter(|(_, time)| time.until <= now && of_it(time));
        let oldest = remembered.min_by_key(|(_, time)| time.until).map(|(user, _)| *user);
        oldest.is_some_and(|oldest| self.users.remove(&oldest).is_some())
    }

    /// No entry can be made for a user: the others are not to suffer from that.
    pub(super) fn give_up(&mut self, user: Uid) {
        self.users.entry(user).and_modify(|time| time.in_vain = true);
    }

    /// Who is shut out at a time.
    pub(super) fn now_out(&self, now: Instant) -> BTreeSet<Uid> {
        let out = self.users.iter().filter(|(_, time)| time.until > now && !time.in_vain);
        out.map(|(user, _)| *user).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Uid = Uid(1000);
    const PAYS: Payer = Payer::named(1000);

    #[test]
    fn each_further_time_is_longer_until_it_is_forgotten() {
        let (mut shut_out, mut now) = (ShutOut::default(), Instant::now());
        let mut long = Vec::new();
        for _ in 0..9 {
            let Added::For(time) = shut_out.add(ALICE, PAYS, now) else { panic!("she is out") };
            long.push(time.as_secs());
            now += time;
        }
        assert_eq!(long, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(shut_out.add(ALICE, PAYS, now + REMEMBERED), Added::For(FIRST));
    }

    #[test]
    fn that_a_user_who_is_out_connects_all_the_same_is_told_once() {
        let (mut shut_out, now) = (ShutOut::default(), Instant::now());
        assert_eq!(shut_out.add(ALICE, PAYS, now), Added::For(FIRST));
        assert_eq!(shut_out.add(ALICE, PAYS, now), Added::Already, "they were in the queue");
        let later = now + QUEUED + Duration::from_millis(1);
        assert_eq!(shut_out.add(ALICE, PAYS, later), Added::GoesOn);
        assert_eq!(shut_out.add(ALICE, PAYS, later), Added::Already);
        assert_eq!(shut_out.now_out(now), [ALICE].into());
        assert!(shut_out.now_out(now + FIRST).is_empty());
    }

    #[test]
    fn a_user_who_is_only_remembered_keeps_no_other_in() {
        let (mut shut_out, now) = (ShutOut::default(), Instant::now());
        let most = u32::try_from(MOST).unwrap();
        assert!(
            (0..most)
                .all(|uid| shut_out.add(Uid(uid), Payer::named(uid), now) == Added::For(FIRST))
        );
        assert_eq!(shut_out.add(Uid(most), PAYS, now), Added::TooMany);
        assert_eq!(shut_out.add(Uid(most), PAYS, now + FIRST), Added::For(FIRST));
        assert_eq!(shut_out.users.len(), MOST);
    }

    #[test]
    fn a_user_whom_no_entry_can_be_made_for_is_not_out() {
        let (mut shut_out, now) = (ShutOut::default(), Instant::now());
        let _ = (shut_out.add(ALICE, PAYS, now), shut_out.add(Uid(7), PAYS, now));
        shut_out.give_up(ALICE);
        assert_eq!(shut_out.now_out(now), [Uid(7)].into());
    }

    #[test]
    fn one_user_with_many_ids_leaves_others_room() {
        let (mut shut_out, now) = (ShutOut::default(), Instant::now());
        let added = (0..1000).map(|uid| shut_out.add(Uid(uid), PAYS, now));
        let out = added.filter(|added| *added == Added::For(FIRST)).count();
        assert_eq!(out, MOST_OF_A_PAYER);
        assert_eq!(shut_out.add(Uid(2000), Payer::named(2000), now), Added::For(FIRST));
        assert_eq!(shut_out.add(Uid(500), PAYS, now + FIRST), Added::For(FIRST));
    }
}
