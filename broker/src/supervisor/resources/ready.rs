//! Connections that are made before somebody asks, and wait to be handed out. Each is handed out once.
//!
//! Two tasks of its own keep them. One drops those that are too old, whose server has hung up or said something, or
//! whose credential has changed. The other makes those that are missing, one after the other. A server that does not
//! take more, or that hangs up soon after the log-in, is asked again later and later. The tasks end with the pool.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use fdbroker_host::Stamp;
use fdbroker_policy::Ready;
use fdbroker_types::quoted;
use fdbroker_wire::{Errno, Opened};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::attempts::Attempts;
use super::failure::OpenFailure;
use super::lanes::Lane;
use super::lasting::{Lasting, TOO_SOON};
use super::openable::Openable;
use crate::fd::{CloseQueue, Depositor};
use crate::supervisor::news::Told;

/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long nobody must take one until others are made. Making them takes the processors from callers who take more.
const CALM: Duration = Duration::from_millis(5);
/// How long that is waited for at most, while there are some left.
const LONGEST_BURST: Duration = Duration::from_millis(50);

/// The connections of one resource that wait.
pub(super) struct ReadyPool {
    terms: Ready,
    waiting: Mutex<VecDeque<Waiting>>,
    lasting: Lasting,
    taken: Arc<Notify>,
    /// Whether a task keeps it.
    kept: AtomicBool,
    close_queue: CloseQueue,
}

struct Waiting {
    /// Only taken out when it is handed out.
    opened: Option<Opened<OwnedFd>>,
    since: Instant,
    /// As they were when it logged in.
    credentials: Vec<Option<Stamp>>,
    close_queue: CloseQueue,
}

impl ReadyPool {
    pub(super) fn new(terms: Ready, close_queue: CloseQueue) -> Arc<Self> {
        let (waiting, taken, kept) = (Mutex::default(), Arc::default(), AtomicBool::new(false));
        let lasting = Lasting::new(terms.max_age);
        Arc::new(Self { terms, waiting, lasting, taken, kept, close_queue })
    }

    /// Takes one that can still be used, if there is one.
    pub(super) fn take(&self) -> Option<Opened<OwnedFd>> {
        let now = Instant::now();
        loop {
            let oldest = self.lock().pop_front()?;
            // Another one takes its place, whether it can be used or not.
            self.taken.notify_one();
            if self.is_good(&oldest, now) {
                self.lasting.has_lasted(oldest.since);
                return oldest.hand_out();
            }
        }
    }

    /// Has tasks of the event loop keep it full and good from now on, if none do.
    pub(super) fn keep(self: &Arc<Self>, openable: &Arc<Openable>, lane: &Lane, told: &Told) {
        if !self.kept.swap(true, Ordering::Relaxed) {
            let pool = Arc::downgrade(self);
            tokio::spawn(Self::keep_looking(pool.clone(), Arc::clone(openable)));
            let (openable, lane) = (Arc::clone(openable), lane.clone());
            tokio::spawn(Self::keep_full(pool, openable, lane, told.clone()));
        }
    }

    /// Drops what cannot be used, until nobody has it any more: also while a server does not let the next one in.
    async fn keep_looking(pool: Weak<Self>, openable: Arc<Openable>) {
        loop {
            sleep(LOOK).await;
            let Some(pool) = pool.upgrade() else { return };
            let looked_at = Arc::clone(&openable);
            // A thread that cannot be had is there the next time.
            let _ = spawn_blocking(move || pool.keep_good(&looked_at.credentials())).await;
        }
    }

    /// Keeps it full until nobody has it any more.
    async fn keep_full(pool: Weak<Self>, openable: Arc<Openable>, lane: Lane, told: Told) {
        let mut attempts = Attempts::default();
        loop {
            let Some(strong) = pool.upgrade() else { return };
            let taken = Arc::clone(&strong.taken);
            let looked = strong.look(&openable, &lane).await;
            if let Some(count) = attempts.succeeded(&strong.lasting) {
                told.good(are_ready_again(openable.name(), count));
            }
            drop(strong);
            match looked {
                // Either way it is looked at again.
                None => {
                    if timeout(LOOK, taken.notified()).await.is_ok() {
                        // The time may be up before that.
                        let _ = timeout(LONGEST_BURST, Self::burst_over(&pool, &taken)).await;
                    }
                }
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    let text = failure.text;
                    if attempts.failed(&text) {
                        told.bad(format!("no connection can be kept ready: {text}"));
                    }
                    sleep(attempts.pause()).await;
                }
            }
        }
    }

    /// Waits until callers have stopped taking, or none is left for them.
    async fn burst_over(pool: &Weak<Self>, taken: &Notify) {
        let is_empty = || pool.upgrade().is_none_or(|pool| pool.lock().is_empty());
        while !is_empty() && timeout(CALM, taken.notified()).await.is_ok() {}
    }

    /// Drops what cannot be used, and makes one if one is missing: returns the result.
    async fn look(
        self: &Arc<Self>,
        openable: &Arc<Openable>,
        lane: &Lane,
    ) -> Option<Result<(), OpenFailure>> {
        let (pool, looked_at) = (Arc::clone(self), Arc::clone(openable));
        let looked = spawn_blocking(move || {
            pool.keep_good(&looked_at.credentials());
            pool.lasting.take_ended()
        });
        // A thread that cannot be had is as good as nothing missing.
        if looked.await.ok()? {
            return Some(Err(hangs_up(openable.name())));
        }
        if !self.misses_one() {
            return None;
        }
        let permit = lane.make().await?;
        let (pool, openable) = (Arc::clone(self), Arc::clone(openable));
        let made = spawn_blocking(move || {
            let credentials = openable.credentials();
            let made = openable.open_for_nobody().map(|opened| pool.add(opened, credentials));
            drop(permit);
            made
        });
        made.await.ok()
    }

    fn keep_good(&self, credentials: &[Option<Stamp>]) {
        let now = Instant::now();
        let is_good =
            |waiting: &Waiting| self.is_good(waiting, now) && waiting.credentials == credentials;
        self.lock().retain(is_good);
    }

    fn is_good(&self, waiting: &Waiting, now: Instant) -> bool {
        let age = now.saturating_duration_since(waiting.since);
        let is_whole = waiting.opened.as_ref().is_some_and(is_silent);
        self.lasting.saw(waiting.since, now, is_whole);
        is_whole && age < self.terms.max_age
    }

    fn misses_one(&self) -> bool {
        let number = usize::try_from(self.terms.number).unwrap_or(usize::MAX);
        self.lock().len() < number
    }

    fn add(&self, opened: Opened<OwnedFd>, credentials: Vec<Option<Stamp>>) {
        let (since, close_queue) = (Instant::now(), self.close_queue.clone());
        self.lock().push_back(Waiting { opened: Some(opened), since, credentials, close_queue });
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn hand_out(mut self) -> Option<Opened<OwnedFd>> {
        self.opened.take()
    }
}

impl Drop for Waiting {
    /// A server may have sent descriptors, whose close sleeps.
    fn drop(&mut self) {
        let opened = self.opened.take().into_iter();
        let hold = |descriptor| self.close_queue.hold(Depositor::Nobody, descriptor);
        opened.for_each(|opened| drop(opened.map(hold)));
    }
}

/// Whether a server has said nothing since the log-in, and has not hung up. What is sent unasked is a
/// farewell in most protocols.
fn is_silent(opened: &Opened<OwnedFd>) -> bool {
    let flags = PollFlags::IN | PollFlags::RDHUP;
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(opened.descriptor(), flags)], Some(&now)) == Ok(0)
}

/// A server has logged in, and ended that at once.
fn hangs_up(name: &str) -> OpenFailure {
    let text = format!(
        "resource {name}: the server hangs up, or says something, less than {} s after the log-in; \
         check the server's log, its timeouts and how many connections it allows",
        TOO_SOON.as_secs(),
        name = quoted(name)
    );
    OpenFailure { errno: Errno::IO, text }
}

fn are_ready_again(name: &str, failed: u64) -> String {
    let name = quoted(name);
    format!(
        "resource {name}: connections are kept ready again; failed attempts before that: {failed}"
    )
}
