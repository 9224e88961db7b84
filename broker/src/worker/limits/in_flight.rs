//! Descriptors in flight: sent, and not yet read by their peer.
//!
//! They count against the worker's own user, for all peers together, up to its limit of open
//! descriptors (unix(7), ETOOMANYREFS). So here they count against the peer that leaves them
//! unread. The limits are a few for each connection, a share for each user, and half for all users:
//! the worker can always send to its supervisor.
//!
//! The count is an upper bound: what a peer reads is noticed only when it matters.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::users::Users;
use crate::payer::Payer;
use crate::sys::socket::unread;
use crate::sys::watch::Watched;

/// How many may lie unread on one connection.
const PER_CONNECTION: u32 = 8;
/// How many descriptors a message carries at most, see unix(7).
const MOST_IN_A_MESSAGE: u32 = 253;
/// The part of the descriptor table's size that one user may let lie unread.
const SHARE: u64 = 8;
/// How often all connections of a user, or of all users, are looked through, to see what has been
/// read.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The counts of all users.
pub(crate) struct InFlight(Rc<All>);

struct All {
    limits: Limits,
    sum: Cell<u32>,
    users: Users<User>,
    refreshed: Cell<Option<Instant>>,
}

/// What may lie unread.
#[derive(Clone, Copy)]
struct Limits {
    /// With one user.
    user: u32,
    /// With all users.
    all: u32,
    /// With all users, where it is a few for a user with whom few lie: so that those who read are
    /// served while others do not. The rest of the kernel's limit is the worker's own, for what it
    /// sends to its supervisor.
    few: u32,
}

#[derive(Default)]
struct User {
    sum: Cell<u32>,
    ledgers: RefCell<Vec<Weak<Ledger>>>,
    /// When all ledgers were last looked through.
    refreshed: Cell<Option<Instant>>,
}

/// The count of one connection.
pub(crate) struct Ledger {
    stream: Rc<Watched>,
    count: Cell<u32>,
    /// Room that is kept for the next message. It is in the sums already.
    kept: Cell<u32>,
    user: Rc<User>,
    all: Rc<All>,
}

impl Limits {
    /// For a descriptor table with `table` entries: half of it for all users, and a quarter more
    /// where it is a few.
    fn of(table: u64) -> Self {
        let part = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
        Self {
            user: part(table / SHARE).max(PER_CONNECTION),
            all: part(table / 2),
            few: part(table / 4 * 3),
        }
    }
}

impl InFlight {
    /// For a descriptor table with `table` entries.
    pub(crate) fn new(table: u64) -> Self {
        Self(Rc::new(All {
            limits: Limits::of(table),
            sum: Cell::new(0),
            users: Users::default(),
            refreshed: Cell::new(None),
        }))
    }

    /// A connection of `payer`.
    pub(crate) fn ledger(&self, payer: Payer, stream: &Rc<Watched>) -> Rc<Ledger> {
        let all = Rc::clone(&self.0);
        let user = all.users.of(payer, User::default);
        let (stream, count) = (Rc::clone(stream), Cell::new(0));
        let kept = Cell::new(0);
        let ledger = Rc::new(Ledger { stream, count, kept, user, all });
        let mut ledgers = ledger.user.ledgers.borrow_mut();
        ledgers.retain(|other| other.strong_count() > 0);
        ledgers.push(Rc::downgrade(&ledger));
        drop(ledgers);
        ledger
    }
}

impl All {
    fn add(&self, user: &User, more: u32) {
        self.sum.set(self.sum.get().saturating_add(more));
        user.sum.set(user.sum.get().saturating_add(more));
    }

    /// Whether there is room for more with a user. A user with nothing in flight has room for one
    /// message.
    fn has_room(&self, user: &User, more: u32) -> bool {
        let few = user.sum.get().saturating_add(more) <= PER_CONNECTION;
        fits(self.sum.get(), more, if few { self.limits.few } else { self.limits.all })
    }

    /// Counts again what all users' connections have in flight, unless that was done a moment ago.
    fn refresh(&self) -> io::Result<()> {
        if is_recent(&self.refreshed) {
            return Ok(());
        }
        self.users.all().iter().try_for_each(|user| user.refresh())
    }
}

impl Ledger {
    /// Whether so many more descriptors may be sent: more than a few only when nothing lies unread.
    ///
    /// # Errors
    /// When the kernel does not tell what has been read.
    pub(crate) fn may_send(&self, more: usize) -> io::Result<bool> {
        let more = counted(more);
        if more == 0 || self.has_room(more) {
            return Ok(true);
        }
        if more <= self.kept.get() {
            self.refresh()?;
            return Ok(fits(self.count.get(), more, PER_CONNECTION));
        }
        self.refresh()?;
        if fits(self.count.get(), more, PER_CONNECTION) {
            self.user.refresh()?;
            if !self.all.has_room(&self.user, more) {
                self.all.refresh()?;
            }
        }
        Ok(self.has_room(more))
    }

    /// How many descriptors one message may carry now. It is a few while those that lie unread with
    /// other users leave no room for more: so this user gets fewer at once, and does not wait.
    pub(crate) fn most_at_once(&self) -> usize {
        let may = |ledger: &Self| ledger.all.has_room(&ledger.user, MOST_IN_A_MESSAGE);
        // What was read is looked for; where the kernel does not tell, sending fails too.
        let most = may(self) || self.all.refresh().is_ok() && may(self);
        usize::try_from(if most { MOST_IN_A_MESSAGE } else { PER_CONNECTION }).unwrap_or(1)
    }

    /// Keeps room for so many in the next message: what others leave unread until then does not take it.
    pub(crate) fn keep_room(&self, more: usize) {
        self.free_room();
        self.kept.set(counted(more));
        self.all.add(&self.user, counted(more));
    }

    /// Keeps no room any more.
    pub(crate) fn free_room(&self) {
        self.take_back(self.kept.replace(0));
    }

    fn take_back(&self, count: u32) {
        self.user.sum.set(self.user.sum.get() - count);
        self.all.sum.set(self.all.sum.get() - count);
    }

    /// Whether so many more may not be sent although this user reads: others do not.
    pub(crate) fn is_crowded(&self, more: usize) -> bool {
        let more = counted(more);
        self.has_own_room(more) && !self.all.has_room(&self.user, more)
    }

    /// So many more have been sent.
    pub(crate) fn sent(&self, more: usize) {
        let more = counted(more);
        let kept = self.kept.get().min(more);
        self.kept.set(self.kept.get() - kept);
        self.count.set(self.count.get() + more);
        self.all.add(&self.user, more - kept);
    }

    /// Whether this connection's peer has read everything.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn is_drained(&self) -> io::Result<bool> {
        self.refresh()?;
        Ok(self.count.get() == 0)
    }

    fn has_room(&self, more: u32) -> bool {
        self.has_own_room(more) && self.all.has_room(&self.user, more)
    }

    fn has_own_room(&self, more: u32) -> bool {
        fits(self.count.get(), more, PER_CONNECTION)
            && fits(self.user.sum.get(), more, self.all.limits.user)
    }

    fn refresh(&self) -> io::Result<()> {
        if self.count.get() > 0 && unread(self.stream.as_fd())? == 0 {
            self.forget();
        }
        Ok(())
    }

    fn forget(&self) {
        self.take_back(self.count.replace(0));
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

/// Whether that was done a moment ago; if not, it is now.
fn is_recent(done: &Cell<Option<Instant>>) -> bool {
    let now = Instant::now();
    let recent = done.get().is_some_and(|last| now.duration_since(last) < LOOK_AGAIN);
    if !recent {
        done.set(Some(now));
    }
    recent
}

impl User {
    /// Counts again what all connections have in flight, unless that was done a moment ago.
    fn refresh(&self) -> io::Result<()> {
        if is_recent(&self.refreshed) {
            return Ok(());
        }
        self.ledgers.borrow().iter().filter_map(Weak::upgrade).try_for_each(|other| other.refresh())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.free_room();
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use super::{InFlight, Ledger};
    use crate::payer::Payer;
    use crate::sys::watch::Watched;

    /// A connection of a user whose peer, the second, reads nothing.
    fn connection(in_flight: &InFlight, uid: u32) -> (Rc<Ledger>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &ours, b"unread").unwrap();
        let stream = Rc::new(Watched::new(ours.into()).unwrap());
        (in_flight.ledger(Payer::named(uid), &stream), theirs)
    }

    #[tokio::test]
    async fn all_users_together_leave_the_worker_a_quarter() {
        let in_flight = InFlight::new(1000);
        let mut hogs = Vec::new();
        for uid in 0..200 {
            let (ledger, theirs) = connection(&in_flight, uid);
            let most = [253, 8, 1].into_iter().find(|more| ledger.may_send(*more).unwrap());
            most.into_iter().for_each(|more| ledger.sent(more));
            hogs.push((ledger, theirs));
        }
        assert!(in_flight.0.sum.get() <= 750, "{}", in_flight.0.sum.get());
        assert!(in_flight.0.sum.get() > 700, "what is a few still went");
        let (late, _theirs) = connection(&in_flight, 1000);
        assert!(!late.may_send(8).unwrap());
        assert!(late.is_crowded(8), "it is not its own fault");
        hogs.clear();
        assert!(late.may_send(253).unwrap());
    }

    #[tokio::test]
    async fn room_that_is_kept_is_there_whatever_others_leave_unread() {
        let in_flight = InFlight::new(1000);
        let (modest, _theirs) = connection(&in_flight, 9);
        modest.keep_room(60);
        let hogs: Vec<_> = (0..2).map(|uid| connection(&in_flight, uid)).collect();
        for ((hog, _), many) in hogs.iter().zip([253, 180]) {
            assert!(hog.may_send(many).unwrap());
            hog.sent(many);
        }
        assert!(!modest.may_send(61).unwrap());
        assert!(modest.may_send(60).unwrap());
        modest.sent(60);
        assert_eq!(in_flight.0.sum.get(), 60 + 253 + 180);
        modest.keep_room(8);
        drop((modest, hogs));
        assert_eq!(in_flight.0.sum.get(), 0);
    }

    #[tokio::test]
    async fn many_to_one_user_leave_others_a_few() {
        let in_flight = InFlight::new(1000);
        let hogs: Vec<_> = (0..3).map(|uid| connection(&in_flight, uid)).collect();
        for (hog, _) in &hogs {
            hog.may_send(253).unwrap().then(|| hog.sent(253));
        }
        let (modest, _theirs) = connection(&in_flight, 9);
        assert!(!modest.may_send(253).unwrap());
        assert!(modest.may_send(8).unwrap());
        assert_eq!(modest.most_at_once(), 8, "so it is not made to wait");
        drop(hogs);
        let (alone, _theirs) = connection(&in_flight, 10);
        assert_eq!(alone.most_at_once(), 253);
    }
}
