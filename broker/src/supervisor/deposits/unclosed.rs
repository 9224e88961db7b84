//! What is of no use any more and still to be closed, by the users whose it was; told by the threads that
//! close.
//!
//! A deposit that has left its slot, the duplicate of a connection that has ended, and a resource that has been
//! sent to its caller are in this process's table until they are closed. The worker has them on their users' accounts for so long. The next worker
//! is told how many they are when it asks for everything, and from then on what of them has been closed: so no
//! user gets another share of the table by a worker's death.
//!
//! Not a channel: that would wake the event loop for each descriptor. The [`CloseQueue`] wakes it once
//! for each batch.
//!
//! [`CloseQueue`]: crate::fd::CloseQueue

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fdbroker_policy::Uid;
use fdbroker_wire::{DepositNumber, Tally};

use crate::deposit_record::DepositRecord;
use crate::payer::Payer;

/// All of it.
#[derive(Clone, Default)]
pub(crate) struct Unclosed(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Which worker there is: counted by those that have asked for everything.
    worker: u32,
    /// What has still to be closed.
    waiting: BTreeMap<u32, Tally>,
    /// What has been closed and the worker has not been told of.
    closed: BTreeMap<u32, Tally>,
    /// Deposits that have been closed and the worker has not been told of.
    removed: Vec<DepositNumber>,
    /// Connections likewise, by their numbers.
    parted: Vec<u32>,
}

/// What has been closed, to be told to the worker.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Closed {
    pub(crate) tallies: Vec<Tally>,
    pub(crate) removed: Vec<DepositNumber>,
    pub(crate) parted: Vec<u32>,
}

/// Stands for a deposit's descriptor. When it is dropped, the descriptor has been closed.
pub(crate) struct DepositNotice {
    record: DepositRecord,
    left: Arc<OnceLock<Left>>,
    unclosed: Unclosed,
}

/// Under which worker a descriptor left its slot.
struct Left {
    worker: u32,
}

/// Whether a descriptor has left its slot. Until it has, the worker charges it as a deposit.
pub(crate) struct Leaving {
    record: DepositRecord,
    left: Arc<OnceLock<Left>>,
}

/// Stands for the duplicate of a connection that has ended. When it is dropped, that has been closed.
pub(crate) struct ConnectionNotice {
    owner: Payer,
    number: u32,
    /// Whose number that is.
    worker: u32,
    unclosed: Unclosed,
}

/// Stands for a resource that was opened for a user, with all of its descriptors. When it is dropped,
/// they have been closed.
pub(crate) struct OpeningNotice {
    user: Uid,
    /// How many entries of the table they are.
    entries: u32,
    /// For which worker it was opened.
    worker: u32,
    refused: AtomicBool,
    unclosed: Unclosed,
}

impl OpeningNotice {
    /// It does not go to the worker, which has charged nothing for it.
    pub(crate) fn is_refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }
}

impl Unclosed {
    /// Returns which worker there is, for [`Unclosed::opening`].
    pub(crate) fn worker(&self) -> u32 {
        self.lock().worker
    }

    /// Returns the notice of a resource that has been opened for a user of this worker's, and takes so many entries of
    /// the table. `None` if there is another worker by now, which has no charge for it.
    pub(crate) fn opening(&self, user: Uid, worker: u32, entries: u32) -> Option<OpeningNotice> {
        let mut state = self.lock();
        (state.worker == worker).then(|| {
            tally(&mut state.waiting, user).openings += entries;
            let (refused, unclosed) = (AtomicBool::new(false), self.clone());
            OpeningNotice { user, entries, worker, refused, unclosed }
        })
    }

    /// Returns the notice of a deposit's descriptor, and what is to be told when that leaves its slot.
    pub(crate) fn deposit(&self, record: DepositRecord) -> (DepositNotice, Leaving) {
        let left = Arc::<OnceLock<_>>::default();
        let leaving = Leaving { record, left: Arc::clone(&left) };
        (DepositNotice { record, left, unclosed: self.clone() }, leaving)
    }

    /// A deposit's descriptor leaves its slot.
    pub(crate) fn leaves(&self, leaving: &Leaving) {
        let mut state = self.lock();
        if leaving.left.set(Left { worker: state.worker }).is_ok() {
            tally(&mut state.waiting, leaving.record.owner).deposits += 1;
        }
    }

    /// Returns the notice of a connection that has ended, which the worker knows by this number.
    pub(crate) fn connection(&self, owner: Payer, number: u32) -> ConnectionNotice {
        let mut state = self.lock();
        tally(&mut state.waiting, owner.uid()).connections += 1;
        ConnectionNotice { owner, number, worker: state.worker, unclosed: self.clone() }
    }

    /// One whose duplicate was not kept has ended.
    pub(crate) fn parted(&self, number: u32) {
        self.lock().parted.push(number);
    }

    /// Another worker asks for everything: returns what waits to be closed, for its accounts.
    pub(crate) fn next_worker(&self) -> Vec<Tally> {
        let mut state = self.lock();
        state.worker = state.worker.wrapping_add(1);
        state.closed.clear();
        state.removed.clear();
        state.parted.clear();
        state.waiting.values().copied().collect()
    }

    /// Takes what has been closed.
    pub(crate) fn take(&self) -> Closed {
        let mut state = self.lock();
        let tallies = mem::take(&mut state.closed).into_values().collect();
        let (removed, parted) = (mem::take(&mut state.removed), mem::take(&mut state.parted));
        Closed { tallies, removed, parted }
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tally(tallies: &mut BTreeMap<u32, Tally>, Uid(uid): Uid) -> &mut Tally {
    tallies.entry(uid).or_insert(Tally { uid, ..Tally::default() })
}

impl State {
    /// Something of a user's waits no longer: so many of `one` of what a tally counts.
    fn waits_no_longer(
        &mut self,
        Uid(uid): Uid,
        number: u32,
        one: impl FnOnce(&mut Tally) -> &mut u32,
    ) {
        let Some(tally) = self.waiting.get_mut(&uid) else { return };
        let count = one(tally);
        *count = count.saturating_sub(number);
        if *tally == (Tally { uid, ..Tally::default() }) {
            self.waiting.remove(&uid);
        }
    }
}

impl Drop for DepositNotice {
    fn drop(&mut self) {
        let mut state = self.unclosed.lock();
        let Some(left) = self.left.get() else { return };
        state.waits_no_longer(self.record.owner, 1, |tally| &mut tally.deposits);
        if left.worker == state.worker {
            state.removed.push(self.record.number);
        } else {
            tally(&mut state.closed, self.record.owner).deposits += 1;
        }
    }
}

impl Drop for ConnectionNotice {
    fn drop(&mut self) {
        let mut state = self.unclosed.lock();
        state.waits_no_longer(self.owner.uid(), 1, |tally| &mut tally.connections);
        if self.worker == state.worker {
            state.parted.push(self.number);
        } else {
            tally(&mut state.closed, self.owner.uid()).connections += 1;
        }
    }
}

impl Drop for OpeningNotice {
    fn drop(&mut self) {
        let mut state = self.unclosed.lock();
        state.waits_no_longer(self.user, self.entries, |tally| &mut tally.openings);
        // The next worker has been told of it in any case.
        if state.worker != self.worker || !self.refused.load(Ordering::Relaxed) {
            tally(&mut state.closed, self.user).openings += self.entries;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYER: Payer = Payer::named(7);
    const OWNER: Uid = Uid(7);
    const NUMBER: DepositNumber = DepositNumber(1 << 40);
    const RECORD: DepositRecord = DepositRecord { owner: OWNER, number: NUMBER };

    fn tally(deposits: u32, connections: u32) -> Tally {
        Tally { uid: OWNER.0, deposits, connections, ..Tally::default() }
    }

    fn tallies(tallies: &[Tally]) -> Closed {
        Closed { tallies: tallies.to_vec(), ..Closed::default() }
    }

    #[test]
    fn a_worker_is_told_of_each_resource_that_was_opened_for_it_and_of_no_other() {
        let unclosed = Unclosed::default();
        let openings = |openings| Tally { openings, ..tally(0, 0) };
        let first = unclosed.worker();
        drop(unclosed.opening(OWNER, first, 1));
        assert_eq!(unclosed.take(), tallies(&[openings(1)]));
        let held = unclosed.opening(OWNER, first, 3);
        assert_eq!(unclosed.next_worker(), [openings(3)]);
        assert!(unclosed.opening(OWNER, first, 1).is_none(), "it was opened for the last worker");
        drop(held);
        assert_eq!(unclosed.take(), tallies(&[openings(3)]));
    }

    #[test]
    fn a_worker_is_not_told_of_what_was_refused_but_the_next_one_is() {
        let unclosed = Unclosed::default();
        let openings = |openings| Tally { openings, ..tally(0, 0) };
        let refused = || {
            let notice = unclosed.opening(OWNER, unclosed.worker(), 3).unwrap();
            notice.is_refused();
            notice
        };
        drop(refused());
        assert_eq!(unclosed.take(), Closed::default());
        let held = refused();
        assert_eq!(unclosed.next_worker(), [openings(3)]);
        drop(held);
        assert_eq!(unclosed.take(), tallies(&[openings(3)]));
    }

    #[test]
    fn the_worker_is_told_once_what_has_left_and_is_closed() {
        let unclosed = Unclosed::default();
        let (notice, leaving) = unclosed.deposit(RECORD);
        // It lies there: that is no matter.
        assert_eq!(unclosed.next_worker(), []);
        unclosed.leaves(&leaving);
        let connection = unclosed.connection(PAYER, 3);
        drop((notice, connection));
        let closed = Closed { removed: vec![NUMBER], parted: vec![3], ..Closed::default() };
        assert_eq!(unclosed.take(), closed);
        assert_eq!(unclosed.take(), Closed::default());
        assert_eq!(unclosed.next_worker(), []);
    }

    #[test]
    fn the_next_worker_is_told_what_waits_and_then_that_it_is_closed() {
        let unclosed = Unclosed::default();
        unclosed.next_worker();
        let [early, late] = [(); 2].map(|()| {
            let (notice, leaving) = unclosed.deposit(RECORD);
            unclosed.leaves(&leaving);
            (notice, unclosed.connection(PAYER, 3))
        });
        drop(early);
        assert_eq!(unclosed.next_worker(), [tally(1, 1)]);
        drop(late);
        assert_eq!(unclosed.take(), tallies(&[tally(1, 1)]), "what it was told to wait for");
        assert_eq!(unclosed.next_worker(), []);
    }

    #[test]
    fn the_worker_is_not_told_what_left_by_nobodys_word() {
        let unclosed = Unclosed::default();
        drop(unclosed.deposit(RECORD));
        assert_eq!(unclosed.take(), Closed::default());
    }
}
