//! What waits to be closed, and whose turn is next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, socket_linger};

use super::depositor::Depositor;

/// How long the first descriptor of a batch waits for others.
pub(super) const DELAY: Duration = Duration::from_millis(3);

/// How many descriptors of one depositor are closed without waiting for more.
pub(super) const BATCH: usize = 256;

/// What is to be closed, and what is dropped afterwards.
pub(super) struct CloseJob {
    pub(super) descriptor: OwnedFd,
    pub(super) soon: bool,
    pub(super) after: Option<Box<dyn Send + Sync>>,
}

/// A bound on threads.
#[derive(Clone, Copy)]
pub(super) struct Threads {
    pub(super) all: usize,
    pub(super) for_system_users: usize,
    /// How many may work at once on what takes no right to bring.
    pub(super) without_right: usize,
}

#[derive(Default)]
pub(super) struct State {
    /// What has to be closed, by depositor.
    pub(super) waiting: BTreeMap<Depositor, Vec<CloseJob>>,
    /// Depositors that have something waiting and no thread at work, and when their turn is.
    pub(super) turns: VecDeque<(Instant, Depositor)>,
    /// Depositors with a thread at work.
    pub(super) busy: BTreeSet<Depositor>,
    pub(super) threads: usize,
    pub(super) idle: usize,
    /// One idle thread waits for the next turn's time.
    pub(super) timed: bool,
    /// A thread has been called and has not come yet.
    pub(super) called: bool,
    /// The account that the next socket with something unread in it gets, if that has nothing to close.
    pub(super) next_unread: u8,
}

/// A depositor whose turn has come, and what is to be closed for it.
pub(super) type CloseBatch = (Depositor, Vec<CloseJob>);

impl State {
    /// Lets a depositor's turn come now, and those of all before it.
    pub(super) fn bring_forward(&mut self, depositor: Depositor) {
        let Some(last) = self.turns.iter().position(|(_, other)| *other == depositor) else {
            return;
        };
        let now = Instant::now();
        self.turns.iter_mut().take(last + 1).for_each(|(due, _)| *due = now.min(*due));
    }

    /// Takes the first turn that has come. The last threads are left to system users, and most of the
    /// others to users who have a right.
    pub(super) fn take_turn(&mut self, now: Instant, limit: Threads) -> Option<CloseBatch> {
        let for_all = self.busy.len() < limit.all.saturating_sub(limit.for_system_users);
        let without_right = self.busy.iter().filter(|busy| busy.is_without_right()).count();
        let fits = |depositor: Depositor| {
            !depositor.is_without_right() || without_right < limit.without_right
        };
        let may = |depositor: Depositor| depositor.is_of_the_system() || for_all && fits(depositor);
        let first = self.turns.iter().position(|(due, other)| *due <= now && may(*other))?;
        let (_, depositor) = self.turns.remove(first)?;
        self.busy.insert(depositor);
        Some((depositor, self.waiting.remove(&depositor)?))
    }

    pub(super) fn end_turn(&mut self, depositor: Depositor) {
        self.busy.remove(&depositor);
        let Some(jobs) = self.waiting.get(&depositor) else { return };
        // The rest waits for others too: else batches would be of two or three.
        let soon = jobs.len() >= BATCH || jobs.iter().any(|job| job.soon);
        let delay = if soon { Duration::ZERO } else { DELAY };
        self.turns.push_back((Instant::now() + delay, depositor));
    }

    pub(super) fn has_work_for(&self, depositor: Depositor) -> bool {
        self.busy.contains(&depositor) || self.waiting.contains_key(&depositor)
    }

    /// How long it is until the next turn that has not come yet.
    pub(super) fn next_due(&self, now: Instant) -> Option<Duration> {
        let waits = self.turns.iter().map(|(due, _)| due.saturating_duration_since(now));
        waits.filter(|wait| !wait.is_zero()).min()
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

impl CloseJob {
    pub(super) fn run(self) {
        // The data of a socket that lingers still goes out, but nobody waits for that: neither do the
        // closes behind it. An error means that it is no socket.
        if !matches!(socket_linger(&self.descriptor), Ok(None) | Err(_)) {
            let _ = set_socket_linger(&self.descriptor, None);
        }
        drop(self.descriptor);
        drop(self.after);
    }
}
