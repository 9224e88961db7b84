//! The threads that close, and the way to them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::crews::Threads;
use super::depositor::Depositor;
use super::turn::{CloseJob, Turn};
use super::waiting::State;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How many threads there may be. A thread that only closes takes about 30 KiB of memory.
const THREADS: Threads =
    Threads { accounts: 256, for_system_users: 32, without_right: 96, spares: 512 };

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
        state.bring_forward(depositor, Instant::now());
        drop(state);
        // One that waits for the time of the next turn looks again.
        self.0.work.notify_one();
    }

    /// Waits until a batch has been closed, since this was last called. Can be dropped and called again.
    pub(crate) async fn batch_closed(&self) {
        self.0.batch_closed.notified().await;
    }

    pub(super) fn push(&self, depositor: Depositor, job: CloseJob) {
        let now = Instant::now();
        let mut state = self.0.lock();
        let due = state.add(depositor, job, now);
        let called = self.call(&mut state, due);
        // A thread that is told while the state is locked would wake only to wait for that.
        drop(state);
        if due <= now || called {
            self.0.work.notify_one();
        }
    }

    /// Sees to it that a thread comes when something is due; returns whether one that is idle is to be
    /// told.
    fn call(&self, state: &mut State, due: Instant) -> bool {
        if state.called || state.timed.is_some_and(|until| until <= due) {
            return false;
        }
        if state.idle > 0 {
            state.called = true;
            return true;
        }
        if state.threads < self.0.limit.all() {
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

    /// What a thread does: closes, one turn after the other.
    fn work(&self) {
        let mut state = self.0.lock();
        state.called = false;
        loop {
            let (mut locked, turn) = self.0.next(state);
            let Some(turn) = turn else {
                locked.threads -= 1;
                return;
            };
            // This thread may be away for long: another one comes for what is due next.
            if locked.next_due().is_some_and(|due| self.call(&mut locked, due)) {
                self.0.work.notify_one();
            }
            drop(locked);
            turn.run();
            self.0.batch_closed.notify_one();
            state = self.0.lock();
            state.end_turn(&turn);
        }
    }
}

impl Shared {
    /// A panic while the state is locked leaves it whole: nothing is changed halfway.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn and takes it; returns none if there was nothing to do for a long time.
    fn next<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> (MutexGuard<'a, State>, Option<Arc<Turn>>) {
        loop {
            let now = Instant::now();
            let turn = state.take_turn(now, self.limit);
            if state.has_closed_some(now) {
                self.batch_closed.notify_one();
            }
            if turn.is_some() {
                return (state, turn);
            }
            // What is due has no room for a thread: one that ends its turn looks again.
            let next = state.next_due_after(now);
            let next = next.filter(|next| state.timed.is_none_or(|until| until > *next));
            if let Some(next) = next {
                state.timed = Some(next);
                state = self.wait(state, next.saturating_duration_since(now)).0;
                state.timed = state.timed.filter(|until| *until != next);
                continue;
            }
            let timed_out;
            (state, timed_out) = self.wait(state, IDLE);
            if timed_out && (state.timed.is_some() || !state.has_turns()) {
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
