//! What waits to be closed, and whose turn is next.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crews::{Crews, Threads};
use super::depositor::Depositor;
use super::turn::{CloseJob, Turn};

/// How long the first descriptor of a batch waits for others.
const DELAY: Duration = Duration::from_millis(3);

/// How many descriptors of one depositor are closed without waiting for more.
pub(super) const BATCH: usize = 256;

#[derive(Default)]
pub(super) struct State {
    /// What has to be closed, by depositor.
    pub(super) waiting: BTreeMap<Depositor, VecDeque<CloseJob>>,
    /// Depositors that have something waiting and no thread at work, and when their turn is.
    turns: VecDeque<(Instant, Depositor)>,
    crews: Crews,
    pub(super) threads: usize,
    pub(super) idle: usize,
    /// Until when an idle thread waits for what is due next.
    pub(super) timed: Option<Instant>,
    /// A thread has been called and has not come yet.
    pub(super) called: bool,
    /// The account that the next socket with something unread in it gets, if that has nothing to close.
    pub(super) next_unread: u8,
}

impl State {
    /// Adds a descriptor. Returns when a thread has to come for it.
    pub(super) fn add(&mut self, depositor: Depositor, job: CloseJob, now: Instant) -> Instant {
        let soon = job.soon;
        let jobs = self.waiting.entry(depositor).or_default();
        jobs.push_back(job);
        let waiting = jobs.len();
        match self.crews.at_work(depositor).map(Turn::is_slow_from) {
            Some(slow_from) if slow_from > now => return slow_from,
            Some(_) => self.relieve(depositor, now),
            None if waiting == 1 => self.turns.push_back((now + DELAY, depositor)),
            None => {}
        }
        if soon || waiting == BATCH {
            self.bring_forward(depositor, now);
        }
        let mut latest_first = self.turns.iter().rev();
        latest_first.find(|(_, other)| *other == depositor).map_or(now, |(due, _)| *due)
    }

    /// Lets a depositor's turn come now, and those of all before it.
    pub(super) fn bring_forward(&mut self, depositor: Depositor, now: Instant) {
        let Some(last) = self.turns.iter().position(|(_, other)| *other == depositor) else {
            return;
        };
        self.turns.iter_mut().take(last + 1).for_each(|(due, _)| *due = now.min(*due));
    }

    /// Takes the first turn that has come.
    pub(super) fn take_turn(&mut self, now: Instant, limit: Threads) -> Option<Arc<Turn>> {
        self.relieve_all(now);
        let first = {
            let has_room = self.crews.room(limit);
            self.turns.iter().position(|(due, other)| *due <= now && has_room(*other))?
        };
        let (_, depositor) = self.turns.remove(first)?;
        let jobs = self.waiting.remove(&depositor).unwrap_or_default();
        let turn = Arc::new(Turn::new(depositor, jobs, now));
        self.crews.begin(&turn);
        Some(turn)
    }

    /// Lets others take over what waits behind closes that sleep.
    fn relieve_all(&mut self, now: Instant) {
        let slow = self.crews.turns().filter(|turn| turn.is_slow_from() <= now);
        let slow: Vec<_> = slow.filter(|turn| self.has_more(turn)).map(|it| it.depositor).collect();
        slow.into_iter().for_each(|depositor| self.relieve(depositor, now));
    }

    fn relieve(&mut self, depositor: Depositor, now: Instant) {
        let mut rest = self.crews.relieve(depositor);
        rest.extend(self.waiting.remove(&depositor).into_iter().flatten());
        // Its thread may have come to the last one just now.
        if !rest.is_empty() {
            self.waiting.insert(depositor, rest);
            self.turns.push_back((now, depositor));
        }
    }

    /// Whether turns that take long have closed something that nobody has been told of.
    pub(super) fn has_closed_some(&self, now: Instant) -> bool {
        let slow = self.crews.turns().filter(|turn| turn.is_slow_from() <= now);
        // Each of them is asked.
        slow.fold(false, |some, turn| turn.take_news() | some)
    }

    /// Whether something waits behind the descriptor that a thread closes now.
    fn has_more(&self, turn: &Turn) -> bool {
        turn.has_rest() || self.waiting.contains_key(&turn.depositor)
    }

    pub(super) fn end_turn(&mut self, turn: &Arc<Turn>) {
        if !self.crews.end(turn) {
            return;
        }
        let Some(jobs) = self.waiting.get(&turn.depositor) else { return };
        // The rest waits for others too: else batches would be of two or three.
        let soon = jobs.len() >= BATCH || jobs.iter().any(|job| job.soon);
        let delay = if soon { Duration::ZERO } else { DELAY };
        self.turns.push_back((Instant::now() + delay, turn.depositor));
    }

    pub(super) fn has_work_for(&self, depositor: Depositor) -> bool {
        self.crews.has(depositor) || self.waiting.contains_key(&depositor)
    }

    /// Whether something waits for its turn.
    pub(super) fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// When the first turn comes, or a close has taken so long that another thread takes over what
    /// waits behind it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.all_due().min()
    }

    /// The same of what is not due yet.
    pub(super) fn next_due_after(&self, now: Instant) -> Option<Instant> {
        self.all_due().filter(|due| *due > now).min()
    }

    fn all_due(&self) -> impl Iterator<Item = Instant> {
        let behind = self.crews.turns().filter(|turn| self.has_more(turn) || turn.has_news());
        let turns = self.turns.iter().map(|(due, _)| *due);
        turns.chain(behind.map(Turn::is_slow_from))
    }
}

impl Drop for State {
    /// Without threads the descriptors stay open until the process has ended.
    fn drop(&mut self) {
        for job in mem::take(&mut self.waiting).into_values().flatten() {
            mem::forget(job.descriptor);
        }
    }
}
