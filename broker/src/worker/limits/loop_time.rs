//! The event loop's time, shared between users.
//!
//! All work that is done for a user is measured and charged to that user's account. A session asks
//! for its user's turn before each piece of work. As long as the account has credit it goes on at
//! once. Otherwise it waits, and [`LoopTime::run`] grants the turns: one user after the other gets
//! the same time, and the sessions of a user take turns within it (deficit round robin). Between
//! two users, sessions that have just become ready run first if their user has credit. So a user
//! who asks for little waits for one quantum of one other user, and not for all that the others
//! want.
//!
//! Whenever the loop has nothing left to do, everybody starts with full credit again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::users::Users;
use crate::payer::Payer;

/// How long a user may use the loop before others have their turn, in nanoseconds.
const QUANTUM: i64 = 150_000;
/// The most that a user can owe, in nanoseconds. A user who used more is not shut out for longer.
const MAX_DEBT: i64 = 4 * QUANTUM;
/// How many sessions of a user are woken at once.
const MOST_AT_ONCE: i64 = 16;

/// The accounts of all users, and who waits.
pub(crate) struct LoopTime {
    accounts: Users<Account>,
    /// The users with sessions that wait, in the order of their turns.
    queue: RefCell<VecDeque<Rc<Account>>>,
    /// Each user that waits has one turn in a round.
    round: Cell<u64>,
    /// How many turns are left in this round.
    turns_left: Cell<usize>,
    /// Somebody waits who is the first.
    wanted: Notify,
    /// How often the loop has had nothing to do.
    idle: IdleCount,
    /// Since when time has not been charged yet.
    since: Cell<Instant>,
}

/// Counts how often the event loop has had nothing left to do.
#[derive(Clone, Default)]
pub(crate) struct IdleCount(Arc<AtomicU64>);

/// One user's time.
struct Account {
    /// How long it may go on, in nanoseconds; below 0 it has used time of later rounds.
    credit: Cell<i64>,
    /// The round for which it was last given credit.
    round: Cell<u64>,
    idle: Cell<u64>,
    waiting: RefCell<VecDeque<Rc<Ticket>>>,
    /// It is in the queue, or is having its turn.
    queued: Cell<bool>,
    /// What one piece of work takes on average, in nanoseconds.
    average: Cell<i64>,
}

/// A session's place in its user's queue.
#[derive(Default)]
struct Ticket {
    queued: Cell<bool>,
    granted: Cell<bool>,
    /// Present while it waits.
    waker: RefCell<Option<Waker>>,
}

/// One session's share in its user's time.
pub(crate) struct Turn {
    time: Rc<LoopTime>,
    account: Rc<Account>,
    ticket: Rc<Ticket>,
}

impl IdleCount {
    /// The event loop is about to wait. Called on its thread.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl LoopTime {
    /// Nobody has used anything yet.
    pub(crate) fn new(idle: IdleCount) -> Self {
        Self {
            accounts: Users::default(),
            queue: RefCell::default(),
            round: Cell::new(0),
            turns_left: Cell::new(0),
            wanted: Notify::new(),
            idle,
            since: Cell::new(Instant::now()),
        }
    }

    /// A share in the time of `payer`.
    pub(crate) fn turn(self: &Rc<Self>, payer: Payer) -> Rc<Turn> {
        let (time, account) = (Rc::clone(self), self.account(payer));
        Rc::new(Turn { time, account, ticket: Rc::default() })
    }

    /// From now on time is used for somebody.
    pub(crate) fn begin(&self) {
        self.since.set(Instant::now());
    }

    /// The time since [`LoopTime::begin`], or since time was last charged, was used for `payer`.
    pub(crate) fn charge(&self, payer: Payer) {
        self.account(payer).charge(self);
    }

    /// Grants turns for as long as the worker lives. Must be a task of its own: tasks that became
    /// ready before it run before it.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            if self.queue.borrow().is_empty() {
                self.wanted.notified().await;
                continue;
            }
            // Comes back after the kernel has been asked who is ready, behind those in the run queue.
            yield_now().await;
            self.give_turn().await;
        }
    }

    /// Lets the sessions of the next user work until its credit is used up.
    async fn give_turn(&self) {
        let Some(account) = self.queue.borrow_mut().pop_front() else { return };
        self.count_turn();
        account.refresh(self);
        if self.queue.borrow().is_empty() {
            // Nobody else wants the time that it owes.
            account.credit.set(account.credit.get().max(QUANTUM));
        }
        while account.credit.get() > 0 && account.wake_some() {
            behind_those_ready().await;
        }
        let waits = !account.waiting.borrow().is_empty();
        account.queued.set(waits);
        if waits {
            self.queue.borrow_mut().push_back(account);
        }
    }

    /// A user has its turn; after the last one of a round the next round begins.
    fn count_turn(&self) {
        if self.turns_left.get() == 0 {
            self.round.set(self.round.get().wrapping_add(1));
            self.turns_left.set(self.queue.borrow().len() + 1);
        }
        self.turns_left.set(self.turns_left.get() - 1);
    }

    fn account(&self, payer: Payer) -> Rc<Account> {
        self.accounts.of_kept(payer, || Account::new(self), |account| account.owes(self))
    }
}

impl Account {
    fn new(time: &LoopTime) -> Self {
        Self {
            credit: Cell::new(QUANTUM),
            round: Cell::new(time.round.get()),
            idle: Cell::new(time.idle.now()),
            waiting: RefCell::default(),
            queued: Cell::new(false),
            average: Cell::new(QUANTUM / 8),
        }
    }

    /// Charges the time that has passed since some was charged last.
    fn charge(&self, time: &LoopTime) {
        let now = Instant::now();
        let used = now.saturating_duration_since(time.since.replace(now));
        let used = i64::try_from(used.as_nanos()).unwrap_or(i64::MAX).min(MAX_DEBT);
        self.refresh(time);
        self.credit.set((self.credit.get() - used).max(-MAX_DEBT));
        self.average.set((self.average.get() * 7 + used) / 8);
    }

    /// Adds the credit since the last call: all of it if the loop had nothing to do, else a quantum
    /// a round.
    fn refresh(&self, time: &LoopTime) {
        let (idle, round) = (time.idle.now(), time.round.get());
        if self.idle.replace(idle) != idle {
            self.round.set(round);
            self.credit.set(QUANTUM);
        } else if self.round.get() != round {
            let rounds = round.wrapping_sub(self.round.replace(round));
            let rounds = i64::try_from(rounds).unwrap_or(i64::MAX).min(MAX_DEBT / QUANTUM + 1);
            self.credit.set((self.credit.get() + rounds * QUANTUM).min(QUANTUM));
        }
    }

    fn owes(&self, time: &LoopTime) -> bool {
        self.refresh(time);
        self.credit.get() < QUANTUM
    }

    /// Whether one of its sessions may go on without waiting.
    fn may_go_on(&self, time: &LoopTime) -> bool {
        self.refresh(time);
        self.credit.get() > 0 && self.waiting.borrow().is_empty()
    }

    /// Wakes as many of those that wait as the credit may suffice for; whether there were any.
    fn wake_some(&self) -> bool {
        let number = (self.credit.get() / self.average.get().max(1)).clamp(1, MOST_AT_ONCE);
        let mut woken = 0;
        while woken < number {
            let Some(ticket) = self.waiting.borrow_mut().pop_front() else { break };
            ticket.queued.set(false);
            woken += i64::from(ticket.grant());
        }
        woken > 0
    }
}

impl Ticket {
    /// Grants the session its turn; returns whether it still wanted one.
    fn grant(&self) -> bool {
        let Some(waker) = self.waker.take() else { return false };
        self.granted.set(true);
        waker.wake();
        true
    }
}

impl Turn {
    /// Charges the time that `work` uses on the event loop, from its first poll(2) to its end.
    pub(crate) async fn charged<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.time.begin();
            let outcome = work.as_mut().poll(context);
            self.account.charge(&self.time);
            outcome
        })
        .await
    }

    /// Waits for the user's turn; at once as long as it has credit. Can be dropped.
    pub(crate) async fn take(&self) {
        if !self.is_spent() {
            return;
        }
        self.wait().await;
    }

    /// Whether [`Turn::take`] would wait: asked within work that is long.
    pub(crate) fn is_spent(&self) -> bool {
        self.account.charge(&self.time);
        !self.account.may_go_on(&self.time)
    }

    /// Lets the session go on without its turn: it has nothing to do but to end.
    pub(crate) fn excuse(&self) {
        self.ticket.grant();
    }

    async fn wait(&self) {
        let _left = Left(&self.ticket);
        self.ticket.granted.set(false);
        poll_fn(|context| {
            if self.ticket.granted.get() {
                return Poll::Ready(());
            }
            self.ticket.waker.replace(Some(context.waker().clone()));
            self.queue();
            Poll::Pending
        })
        .await;
    }

    /// Stands behind the other sessions of its user, and that behind the other users.
    fn queue(&self) {
        if self.ticket.queued.replace(true) {
            return;
        }
        self.account.waiting.borrow_mut().push_back(Rc::clone(&self.ticket));
        if !self.account.queued.replace(true) {
            self.time.queue.borrow_mut().push_back(Rc::clone(&self.account));
            self.time.wanted.notify_one();
        }
    }
}

/// Ends the wait of a ticket when it is dropped. The queue passes such a ticket over.
struct Left<'a>(&'a Ticket);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.waker.take();
    }
}

/// Lets all run that are ready now.
async fn behind_those_ready() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
