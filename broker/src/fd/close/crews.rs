//! Which threads work for which account, and which may come to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::depositor::Depositor;
use super::turn::{CloseJob, Turn};

/// One account may have one in so many of the spares that are free, and at least one: so that an account
/// with many closes that sleep leaves most of them to others.
const SHARE_OF_SPARES: usize = 16;

/// A bound on threads.
#[derive(Clone, Copy)]
pub(super) struct Threads {
    /// How many accounts may have a thread.
    pub(super) accounts: usize,
    /// How many of these, and of the spares, are for system users only.
    pub(super) for_system_users: usize,
    /// How many of these may be of what takes no right to bring.
    pub(super) without_right: usize,
    /// How many there may be beside these, for accounts that have a thread which sleeps.
    pub(super) spares: usize,
}

/// The accounts that have threads.
#[derive(Default)]
pub(super) struct Crews(BTreeMap<Depositor, Crew>);

#[derive(Default)]
struct Crew {
    at_work: Option<Arc<Turn>>,
    /// How many sleep in a close, and what comes after that is no more theirs.
    asleep: usize,
}

impl Threads {
    pub(super) fn all(self) -> usize {
        self.accounts + self.spares
    }
}

impl Crews {
    /// Whether there is a thread for an account, at work or asleep.
    pub(super) fn has(&self, depositor: Depositor) -> bool {
        self.0.contains_key(&depositor)
    }

    /// Returns what the thread that is at work for an account closes.
    pub(super) fn at_work(&self, depositor: Depositor) -> Option<&Turn> {
        self.0.get(&depositor)?.at_work.as_deref()
    }

    /// Returns everything that threads are at work on.
    pub(super) fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.0.values().filter_map(|crew| crew.at_work.as_deref())
    }

    /// Returns a test of whether an account may have one more thread. The last ones are left to system
    /// users, and most of the others to users who have a right.
    pub(super) fn room(&self, limit: Threads) -> impl Fn(Depositor) -> bool {
        let for_all = self.0.len() < limit.accounts.saturating_sub(limit.for_system_users);
        let without_right = self.0.keys().filter(|other| other.is_without_right()).count();
        let taken: usize = self.0.values().map(Crew::spares).sum();
        let free = limit.spares.saturating_sub(taken);
        let share = move |depositor: Depositor| {
            let kept = if depositor.is_of_the_system() { 0 } else { limit.for_system_users };
            let free = free.saturating_sub(kept);
            // The last ones go one by one.
            if free > 0 { (free / SHARE_OF_SPARES).max(1) } else { 0 }
        };
        move |depositor| match self.0.get(&depositor) {
            // It is at work for itself alone: no other waits behind it.
            Some(_) if depositor.is_without_right() => false,
            Some(crew) => crew.asleep <= share(depositor),
            None if depositor.is_without_right() => for_all && without_right < limit.without_right,
            None => for_all || depositor.is_of_the_system(),
        }
    }

    /// A thread begins its turn.
    pub(super) fn begin(&mut self, turn: &Arc<Turn>) {
        self.0.entry(turn.depositor).or_default().at_work = Some(Arc::clone(turn));
    }

    /// The thread at work for an account sleeps: another one may come. Returns what it has not come to.
    pub(super) fn relieve(&mut self, depositor: Depositor) -> VecDeque<CloseJob> {
        let Some(crew) = self.0.get_mut(&depositor) else { return VecDeque::new() };
        let Some(turn) = crew.at_work.take() else { return VecDeque::new() };
        crew.asleep += 1;
        turn.take_over()
    }

    /// A turn has ended. Returns whether its thread was the one at work.
    pub(super) fn end(&mut self, turn: &Arc<Turn>) -> bool {
        let Some(crew) = self.0.get_mut(&turn.depositor) else { return false };
        let was_at_work = crew.at_work.as_ref().is_some_and(|other| Arc::ptr_eq(other, turn));
        if was_at_work {
            crew.at_work = None;
        } else {
            crew.asleep = crew.asleep.saturating_sub(1);
        }
        if crew.threads() == 0 {
            self.0.remove(&turn.depositor);
        }
        was_at_work
    }
}

impl Crew {
    fn threads(&self) -> usize {
        self.asleep + usize::from(self.at_work.is_some())
    }

    fn spares(&self) -> usize {
        self.threads().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use crate::payer::Payer;

    use super::*;

    const LIMIT: Threads =
        Threads { accounts: 999, for_system_users: 9, without_right: 9, spares: 512 };

    /// Has all closes of an account sleep; returns how many threads do.
    fn sleep_all(crews: &mut Crews, depositor: Depositor) -> usize {
        let mut asleep = 0;
        while crews.room(LIMIT)(depositor) {
            let turn = Turn::new(depositor, VecDeque::new(), std::time::Instant::now());
            crews.begin(&Arc::new(turn));
            crews.relieve(depositor);
            asleep += 1;
        }
        asleep
    }

    #[test]
    fn accounts_whose_closes_sleep_leave_spares_to_the_next() {
        let mut crews = Crews::default();
        let mut each =
            (2000..2060).map(|uid| sleep_all(&mut crews, Depositor::User(Payer::named(uid))));
        assert_eq!(each.next(), Some(30), "one, and a share of the spares");
        assert!(each.all(|asleep| asleep >= 2), "each has at least one");
    }

    #[test]
    fn the_last_spares_are_for_system_users() {
        let mut crews = Crews::default();
        let mut uids = 2000..3000;
        while uids
            .next()
            .is_some_and(|uid| sleep_all(&mut crews, Depositor::User(Payer::named(uid))) > 1)
        {
        }
        assert!(!uids.is_empty(), "there is a bound");
        assert!(sleep_all(&mut crews, Depositor::User(Payer::named(7))) > 1);
    }

    #[test]
    fn what_takes_no_right_to_bring_has_no_spare() {
        let mut crews = Crews::default();
        assert_eq!(sleep_all(&mut crews, Depositor::Brought(Payer::named(2000))), 1);
        assert_eq!(sleep_all(&mut crews, Depositor::Unread(1)), 1);
    }

    #[test]
    fn a_thread_that_wakes_leaves_the_one_that_relieved_it_at_work() {
        let mut crews = Crews::default();
        let [first, second] = [(), ()].map(|()| {
            let turn = Turn::new(Depositor::Broker, VecDeque::new(), std::time::Instant::now());
            Arc::new(turn)
        });
        crews.begin(&first);
        crews.relieve(Depositor::Broker);
        crews.begin(&second);
        assert!(!crews.end(&first));
        assert!(crews.at_work(Depositor::Broker).is_some());
        assert!(crews.end(&second));
        assert!(!crews.has(Depositor::Broker));
    }
}
