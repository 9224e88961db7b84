//! The table of sessions: which user has which connections, so that those whose peer has hung up are
//! found before anybody is refused for want of room.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;

use super::limits::forgetful::Forgetful;
use super::limits::loop_time::Turn;
use super::limits::quota::ConnectionCharge;
use super::ownership::participant::Participant;
use crate::payer::Payer;
use crate::sys::socket::unread;
use crate::sys::watch::Watched;

/// How many connections of a user that has as many as it may wait until others of it have ended.
const LATE: u32 = 64;
/// How often the connections of all users are looked through.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The connections of all users.
#[derive(Default)]
pub(crate) struct Sessions {
    users: RefCell<Forgetful<Payer, User>>,
    looked_through: Cell<Option<Instant>>,
}

#[derive(Default)]
struct User {
    connections: Vec<Weak<Connection>>,
    late: Rc<Cell<u32>>,
    looked_through: Cell<Option<Instant>>,
}

/// One connection, and what it is charged with.
pub(crate) struct Connection {
    /// On whose account it is.
    pub(crate) payer: Payer,
    /// Its session: whose it is, and its number.
    pub(crate) participant: Rc<Participant>,
    pub(crate) since: Timestamp,
    pub(crate) stream: Rc<Watched>,
    pub(crate) turn: Rc<Turn>,
    charge: RefCell<Option<Arc<ConnectionCharge>>>,
    doing: Cell<Doing>,
}

/// What a connection's session is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Waits,
    /// It serves a request.
    Serves,
    /// The session releases its tags, which can wait for the supervisor.
    Ends,
}

/// A connection that waits until its user's others have been looked at.
pub(crate) struct Late(Rc<Cell<u32>>);

impl Sessions {
    /// Adds a connection of `payer`, of this session.
    pub(crate) fn add(
        &self,
        (payer, participant): (Payer, &Rc<Participant>),
        stream: &Rc<Watched>,
        turn: &Rc<Turn>,
        charge: Arc<ConnectionCharge>,
    ) -> Rc<Connection> {
        let (stream, turn) = (Rc::clone(stream), Rc::clone(turn));
        let (charge, doing) = (RefCell::new(Some(charge)), Cell::new(Doing::Waits));
        let (participant, since) = (Rc::clone(participant), Timestamp::now());
        let connection =
            Rc::new(Connection { payer, participant, since, stream, turn, charge, doing });
        let mut users = self.users.borrow_mut();
        let connections = &mut users.entry(payer, User::is_here).or_default().connections;
        if connections.len() == connections.capacity() {
            connections.retain(|other| other.strong_count() > 0);
        }
        connections.push(Rc::downgrade(&connection));
        connection
    }

    /// Those whose sessions have greater numbers than `after`, less one, in their order.
    pub(crate) fn after(&self, after: u64) -> Vec<Rc<Connection>> {
        let users = self.users.borrow();
        let all = users.values().flat_map(|user| &user.connections).filter_map(Weak::upgrade);
        let mut found: Vec<_> = all.filter(|it| it.participant.id >= after).collect();
        found.sort_unstable_by_key(|connection| connection.participant.id);
        found
    }

    /// Lets one more connection of `payer` wait, or `None` if too many do.
    pub(crate) fn late(&self, payer: Payer) -> Option<Late> {
        let mut users = self.users.borrow_mut();
        let user = users.entry(payer, User::is_here).or_default();
        if user.late.get() >= LATE {
            return None;
        }
        user.late.set(user.late.get() + 1);
        Some(Late(Rc::clone(&user.late)))
    }

    /// Takes the connections whose peer has hung up off their user's account, and ends their sessions;
    /// unless they have been looked through since `then`.
    pub(crate) fn reap(&self, payer: Payer, then: Instant) {
        let users = self.users.borrow();
        let Some(user) = users.get(&payer) else { return };
        if user.looked_through.get().is_none_or(|last| last <= then) {
            user.looked_through.set(Some(Instant::now()));
            reap(user.connections.iter().filter_map(Weak::upgrade).collect());
        }
    }

    /// Whether any of this user's connections is about to be off its account.
    pub(crate) fn are_ending(&self, payer: Payer) -> bool {
        let users = self.users.borrow();
        let connections = users.get(&payer).into_iter().flat_map(|user| &user.connections);
        connections.filter_map(Weak::upgrade).any(|it| it.doing.get() == Doing::Ends)
    }

    /// Ends the connections of all users whose peers have left, but not too often.
    pub(crate) fn reap_all(&self) {
        let now = Instant::now();
        if self.looked_through.get().is_some_and(|last| now.duration_since(last) < LOOK_AGAIN) {
            return;
        }
        self.looked_through.set(Some(now));
        let mut users = self.users.borrow_mut();
        users.forget(User::is_here);
        let all = users.values().flat_map(|user| &user.connections);
        reap(all.filter_map(Weak::upgrade).collect());
    }
}

impl User {
    /// Whether it has any connection; forgets those that have ended.
    fn is_here(&mut self) -> bool {
        self.connections.retain(|connection| connection.strong_count() > 0);
        self.late.get() > 0 || !self.connections.is_empty()
    }
}

fn reap(connections: Vec<Rc<Connection>>) {
    let watched = connections.iter();
    let mut looked: Vec<_> =
        watched.map(|connection| PollFd::new(&*connection.stream, PollFlags::empty())).collect();
    // When the kernel does not tell, each is taken for alive.
    if poll(&mut looked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() {
        return;
    }
    let hung_up: Vec<bool> =
        looked.iter().map(|looked| looked.revents().contains(PollFlags::HUP)).collect();
    for (connection, _) in connections.iter().zip(hung_up).filter(|(_, hung_up)| *hung_up) {
        connection.reap();
    }
}

/// Whether a connection whose peer has hung up is over: nothing is unread in either direction. Until
/// then its requests are served, and its descriptors are in flight.
pub(crate) fn is_over(stream: impl AsFd) -> bool {
    let stream = stream.as_fd();
    ioctl_fionread(stream) == Ok(0) && unread(stream).is_ok_and(|unread| unread == 0)
}

impl Connection {
    /// Says whether a request of it is being served. As long as one is, it counts, also when its peer has
    /// hung up: what waits to be looked up is bounded by that.
    pub(crate) fn set_at_work(&self, at_work: bool) {
        self.doing.set(if at_work { Doing::Serves } else { Doing::Waits });
    }

    /// Whether a request of it is being served.
    pub(crate) fn is_at_work(&self) -> bool {
        self.doing.get() == Doing::Serves
    }

    /// Says that the session ends. It counts until it has.
    pub(crate) fn set_ending(&self) {
        self.doing.set(Doing::Ends);
    }

    /// Ends it at once if it is over: then it needs no turn to find that out.
    fn reap(&self) {
        if self.doing.get() == Doing::Waits && is_over(&*self.stream) {
            self.charge.take();
            self.turn.excuse();
        }
    }

    /// What it is charged with, unless that has been given back.
    pub(crate) fn into_charge(self: Rc<Self>) -> Option<Arc<ConnectionCharge>> {
        self.charge.take()
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use fdbroker_policy::Settings;

    use super::super::identity::Identity;
    use super::super::limits::loop_time::{IdleCount, LoopTime};
    use super::super::limits::quota::Quotas;
    use super::super::ownership::registry::OwnershipRegistry;
    use super::*;

    const USER: Payer = Payer::named(7);

    #[tokio::test]
    async fn a_connection_that_was_left_counts_until_its_request_has_been_served() {
        let settings = Settings { max_connections_per_uid: 1, ..Settings::default() };
        let quotas = Quotas::new(&settings, 4096);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let identity = Rc::new(Identity::of(&ours, true).unwrap());
        let participant = OwnershipRegistry::default().participant(&identity);
        let stream = Rc::new(Watched::new(ours.into()).unwrap());
        let turn = Rc::new(LoopTime::new(IdleCount::default())).turn(USER);
        let sessions = Sessions::default();
        let charge = Arc::new(quotas.connection(USER).unwrap());
        let connection = sessions.add((USER, &participant), &stream, &turn, charge);
        connection.set_at_work(true);
        drop(theirs);
        sessions.reap(USER, Instant::now());
        assert!(quotas.connection(USER).is_err(), "it is still at work");
        connection.set_at_work(false);
        sessions.reap(USER, Instant::now());
        assert!(quotas.connection(USER).is_ok());
    }
}
