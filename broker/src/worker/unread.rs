//! Descriptors that were sent and that nobody has read yet.
//!
//! They count against the worker's own user, for all peers together, up to its limit of open
//! descriptors (unix(7), ETOOMANYREFS). So they are counted here against whoever lets them lie: a
//! few for each connection, and a share of the limit for each user.
//!
//! The count is an upper bound: what a peer reads is noticed only when it matters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use fdbroker_policy::Uid;

use crate::sys::socket::unread;
use crate::sys::watch::Watched;

/// How many may lie unread on one connection.
const PER_CONNECTION: u32 = 8;
/// The part of the descriptor table's size that one user may let lie unread.
const SHARE: u64 = 8;
/// How often all connections of a user are looked through, to see what has been read.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How many users are remembered before those without a connection are forgotten.
const MANY_USERS: usize = 1024;

/// The counts of all users.
pub(super) struct Unread {
    budget: u32,
    users: RefCell<HashMap<Uid, Rc<User>>>,
}

#[derive(Default)]
struct User {
    sum: Cell<u32>,
    ledgers: RefCell<Vec<Weak<Ledger>>>,
    /// When all ledgers were last looked through.
    refreshed: Cell<Option<Instant>>,
}

/// The count of one connection.
pub(super) struct Ledger {
    stream: Rc<Watched>,
    count: Cell<u32>,
    user: Rc<User>,
    budget: u32,
}

impl Unread {
    /// For a descriptor table with `table` entries.
    pub(super) fn new(table: u64) -> Self {
        let budget = u32::try_from(table / SHARE).unwrap_or(u32::MAX).max(PER_CONNECTION);
        Self { budget, users: RefCell::default() }
    }

    /// A connection of `uid`.
    pub(super) fn ledger(&self, uid: Uid, stream: &Rc<Watched>) -> Rc<Ledger> {
        let mut users = self.users.borrow_mut();
        if users.len() >= MANY_USERS {
            users.retain(|_, user| Rc::strong_count(user) > 1);
        }
        let user = Rc::clone(users.entry(uid).or_default());
        let (stream, count, budget) = (Rc::clone(stream), Cell::new(0), self.budget);
        let ledger = Rc::new(Ledger { stream, count, user, budget });
        let mut ledgers = ledger.user.ledgers.borrow_mut();
        ledgers.retain(|other| other.strong_count() > 0);
        ledgers.push(Rc::downgrade(&ledger));
        drop(ledgers);
        ledger
    }
}

impl Ledger {
    /// Whether so many more descriptors may be sent: more than a few only when nothing lies unread.
    ///
    /// # Errors
    /// When the kernel does not tell what has been read.
    pub(super) fn may_send(&self, more: usize) -> io::Result<bool> {
        let more = counted(more);
        if more == 0 || self.has_room(more) {
            return Ok(true);
        }
        self.refresh()?;
        if fits(self.count.get(), more, PER_CONNECTION) {
            self.user.refresh()?;
        }
        Ok(self.has_room(more))
    }

    /// So many more have been sent.
    pub(super) fn sent(&self, more: usize) {
        self.count.set(self.count.get() + counted(more));
        self.user.sum.set(self.user.sum.get() + counted(more));
    }

    /// Whether this connection's peer has read everything.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn is_drained(&self) -> io::Result<bool> {
        self.refresh()?;
        Ok(self.count.get() == 0)
    }

    fn has_room(&self, more: u32) -> bool {
        fits(self.count.get(), more, PER_CONNECTION) && fits(self.user.sum.get(), more, self.budget)
    }

    fn refresh(&self) -> io::Result<()> {
        if self.count.get() > 0 && unread(self.stream.as_fd())? == 0 {
            self.forget();
        }
        Ok(())
    }

    fn forget(&self) {
        self.user.sum.set(self.user.sum.get() - self.count.replace(0));
    }
}

/// Whether there is room for more; where nothing lies unread, there is for one message.
fn fits(unread: u32, more: u32, room: u32) -> bool {
    unread == 0 || unread.saturating_add(more) <= room
}

/// A message carries at most 253, see unix(7).
fn counted(descriptors: usize) -> u32 {
    u32::try_from(descriptors).unwrap_or(u32::MAX)
}

impl User {
    /// Looks through all connections, but not for each of them anew.
    fn refresh(&self) -> io::Result<()> {
        let now = Instant::now();
        if self.refreshed.get().is_some_and(|last| now.duration_since(last) < LOOK_AGAIN) {
            return Ok(());
        }
        self.refreshed.set(Some(now));
        self.ledgers.borrow().iter().filter_map(Weak::upgrade).try_for_each(|other| other.refresh())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.forget();
    }
}
