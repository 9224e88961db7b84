//! The threads that close, and the way to them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::depositor::Depositor;
use super::waiting::{BATCH, CloseBatch, CloseJob, DELAY, State, Threads};

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How many threads there may be, and how many of them are for system users only. A thread that
/// only closes takes about 30 KiB of memory.
const THREADS: Threads = Threads { all: 256, for_system_users: 32, without_right: 96 };

/// How many sockets with something unread in them are closed side by side.
pub(super) const UNREAD: u8 = 16;

/// What a thread that only closes needs of a stack, in bytes.
const STACK: usize = 64 * 1024;

/// The way to the threads that close.
#[derive(Clone)]
pub(crate) struct CloseQueue(pub(super) Arc<Shared>);

pub(super) struct Shared {
    state: Mutex<State>,
    /// Told when there is something to do for one more thread.
    work: Condvar,
    /// Told when a batch has been closed.
    batch_closed: Notify,
    limit: Threads,
}

impl CloseQueue {
    /// Returns a queue without threads; they start when they are needed.
    pub(crate) fn new() -> Self {
        Self::with(THREADS)
    }

    pub(super) fn with(limit: Threads) -> Self {
        let (state, work, batch_closed) = (Mutex::default(), Condvar::new(), Notify::new());
        Self(Arc::new(Shared { state, work, batch_closed, limit }))
    }

    /// Returns an account for a socket of the broker's own, and for what is read from it. Two share one
    /// only if all accounts have something to close.
    pub(crate) fn unread(&self) -> Depositor {
        let mut state = self.0.lock();
        let account = |number| Depositor::Unread(number % UNREAD);
        let next = state.next_unread;
        let mut accounts = (0..UNREAD).map(|more| account(next.wrapping_add(more)));
        let free = accounts.find(|account| !state.has_work_for(*account));
        state.next_unread = next.wrapping_add(1);
        free.unwrap_or(account(next))
    }

    /// Has what waits on an account closed without waiting for more.
    pub(crate) fn hurry(&self, depositor: Depositor) {
        let mut state = self.0.lock();
        state.bring_forward(depositor);
        drop(state);
        // One that waits for the time of the next turn looks again.
        self.0.work.notify_one();
    }

    /// Waits until a batch has been closed, since this was last called. Can be dropped and called again.
    pub(crate) async fn batch_closed(&self) {
        self.0.batch_closed.notified().await;
    }

    pub(super) fn push(&self, depositor: Depositor, job: CloseJob) {
        let soon = job.soon;
        let mut state = self.0.lock();
        let jobs = state.waiting.entry(depositor).or_default();
        jobs.push(job);
        let waiting = jobs.len();
        if waiting == 1 && !state.busy.contains(&depositor) {
            state.turns.push_back((Instant::now() + DELAY, depositor));
        }
        let soon = soon || waiting == BATCH;
        if soon {
            state.bring_forward(depositor);
        }
        let called = self.call(&mut state);
        // A thread that is told while the state is locked would wake only to wait for that.
        drop(state);
        if soon || called {
            self.0.work.notify_one();
        }
    }

    /// Sees to it that a thread comes for the next turn; returns whether one that is idle is to be told.
    fn call(&self, state: &mut State) -> bool {
        if state.turns.is_empty() || state.timed || state.called {
            return false;
        }
        if state.idle > 0 {
            state.called = true;
            return true;
        }
        if state.threads < self.0.limit.all {
            state.called = self.start_thread();
            state.threads += usize::from(state.called);
        }
        false
    }

    /// Starts a thread. Where that fails, everything waits until another attempt succeeds.
    fn start_thread(&self) -> bool {
        let queue = self.clone();
        let thread = std::thread::Builder::new().name("close".to_owned()).stack_size(STACK);
        thread.spawn(move || queue.work()).is_ok()
    }

    /// What a thread does: closes, one depositor's batch after the other.
    fn work(&self) {
        let mut state = self.0.lock();
        state.called = false;
        loop {
            let (depositor, jobs);
            let call = |state: &mut State| {
                if self.call(state) {
                    self.0.work.notify_one();
                }
            };
            (state, depositor, jobs) = match self.0.next(state, call) {
                (state, Some((depositor, jobs))) => (state, depositor, jobs),
                (mut state, None) => {
                    state.threads -= 1;
                    return;
                }
            };
            drop(state);
            jobs.into_iter().for_each(CloseJob::run);
            self.0.batch_closed.notify_one();
            state = self.0.lock();
            state.end_turn(depositor);
        }
    }
}

impl Shared {
    /// A panic while the state is locked leaves it whole: nothing is changed halfway.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn and takes it, after `call` has found another thread for the rest; returns
    /// no turn if there was nothing to do for a long time.
    fn next<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        call: impl Fn(&mut State),
    ) -> (MutexGuard<'a, State>, Option<CloseBatch>) {
        loop {
            let now = Instant::now();
            if let Some(turn) = state.take_turn(now, self.limit) {
                // This thread may be away for long.
                call(&mut state);
                return (state, Some(turn));
            }
            let next = state.next_due(now).filter(|_| !state.timed);
            let timed_out;
            state.timed |= next.is_some();
            (state, timed_out) = self.wait(state, next.unwrap_or(IDLE));
            state.timed &= next.is_none();
            if timed_out && next.is_none() && (state.turns.is_empty() || state.timed) {
                return (state, None);
            }
        }
    }

    /// Waits to be called, up to a time; returns also whether that time was up.
    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        time: Duration,
    ) -> (MutexGuard<'a, State>, bool) {
        state.idle += 1;
        let woken = self.work.wait_timeout(state, time);
        let (mut state, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state.called = false;
        (state, timeout.timed_out())
    }
}
