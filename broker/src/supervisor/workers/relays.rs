//! Helpers that stay, from outside: each passes on what goes between a caller and a server that speaks TLS.
//!
//! One ends by itself when its connection does. Each has a place, of which there are so many, and a user has a part
//! of them at most. A relay is known by the caller's end of its pair of sockets.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fdbroker_policy::Uid;
use rustix::fs::fstat;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most in all. Each has some 2 MiB of memory.
const MOST: usize = 512;
/// The most that one user has.
pub(crate) const MOST_OF_A_USER: usize = MOST / 4;

/// All of them.
#[derive(Clone)]
pub(crate) struct Relays {
    places: Arc<Semaphore>,
    most_of_a_user: usize,
    running: Arc<Mutex<BTreeMap<CallersEnd, Relay>>>,
}

/// The number of the caller's socket, which no other one has while the relay runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CallersEnd(u64);

/// A place for one that is being made.
pub(crate) struct Place(
    #[expect(dead_code, reason = "it stands for the place")] OwnedSemaphorePermit,
);

struct Relay {
    helper: Child,
    /// It ends when this is closed.
    _link: OwnedFd,
    /// Who has the caller's end, once it is handed out.
    user: Option<Uid>,
    _place: Place,
}

impl Relays {
    pub(crate) fn new() -> Self {
        Self::of(MOST, MOST_OF_A_USER)
    }

    /// So many at most, and so many of one user.
    fn of(most: usize, most_of_a_user: usize) -> Self {
        let places = Arc::new(Semaphore::new(most));
        Self { places, most_of_a_user, running: Arc::default() }
    }

    /// Returns a place, or `None` if all are taken.
    pub(crate) fn place(&self) -> Option<Place> {
        let place = || Arc::clone(&self.places).try_acquire_owned().ok().map(Place);
        place().or_else(|| {
            self.reap();
            place()
        })
    }

    /// Keeps a helper that has handed this end over, and its link. Nobody has the end yet.
    pub(crate) fn add(&self, place: Place, end: &OwnedFd, helper: Child, link: OwnedFd) {
        let relay = Relay { helper, _link: link, user: None, _place: place };
        // Without a number, the relay ends here.
        let Some(end) = CallersEnd::of(end) else { return };
        self.lock().insert(end, relay);
    }

    /// Such an end is handed to a user. One that belongs to no relay is left alone.
    pub(crate) fn is_handed_to(&self, user: Uid, end: &OwnedFd) {
        let Some(end) = CallersEnd::of(end) else { return };
        if let Some(relay) = self.lock().get_mut(&end) {
            relay.user = Some(user);
        }
    }

    /// Returns whether a user has as many as one may have.
    pub(crate) fn has_its_part(&self, user: Uid) -> bool {
        let is_all = || self.count_of(user) >= self.most_of_a_user;
        is_all() && {
            self.reap();
            is_all()
        }
    }

    fn count_of(&self, user: Uid) -> usize {
        self.lock().values().filter(|relay| relay.user == Some(user)).count()
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.reap();
        self.lock().len()
    }

    /// Reaps those that have ended.
    fn reap(&self) {
        self.lock().retain(|_, relay| matches!(relay.helper.try_wait(), Ok(None)));
    }

    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<CallersEnd, Relay>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallersEnd {
    fn of(end: impl AsFd) -> Option<Self> {
        fstat(end).ok().map(|found| Self(found.st_ino))
    }
}

impl Drop for Relay {
    /// Nothing is left of one that does not heed its link either. What has ended already cannot be killed.
    fn drop(&mut self) {
        if self.helper.kill().is_ok() {
            let _ = self.helper.try_wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::*;

    /// A process that ends with its link, as a relay does, and the caller's end.
    fn add(relays: &Relays, place: Place) -> OwnedFd {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut helper = Command::new("cat");
        helper.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let (end, _servers) = UnixStream::pair().unwrap();
        let end = OwnedFd::from(end);
        relays.add(place, &end, helper.spawn().unwrap(), ours.into());
        end
    }

    #[test]
    fn there_are_so_many_relays_and_a_user_has_a_part_of_them() {
        let (relays, user, another) = (Relays::of(3, 2), Uid(7), Uid(8));
        let ends: Vec<_> = (0..3).map(|_| add(&relays, relays.place().unwrap())).collect();
        assert!(relays.place().is_none() && relays.count() == 3);
        assert!(!relays.has_its_part(user), "they are handed to nobody yet");
        relays.is_handed_to(user, &ends[0]);
        relays.is_handed_to(another, &ends[1]);
        assert!(!relays.has_its_part(user));
        relays.is_handed_to(user, &ends[2]);
        assert!(relays.has_its_part(user) && !relays.has_its_part(another));
    }

    #[test]
    fn one_that_has_ended_counts_no_longer() {
        let (relays, user) = (Relays::of(1, 1), Uid(7));
        let end = add(&relays, relays.place().unwrap());
        relays.is_handed_to(user, &end);
        assert!(relays.has_its_part(user) && relays.place().is_none());
        // It ends by itself.
        relays.lock().values_mut().for_each(|relay| relay.helper.kill().unwrap());
        while relays.count() > 0 {
            std::thread::yield_now();
        }
        assert!(!relays.has_its_part(user) && relays.place().is_some());
    }

    #[test]
    fn one_that_is_given_up_is_killed() {
        let relays = Relays::of(1, 1);
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut stays = Command::new("sleep");
        let helper = stays.arg("1000").stdin(Stdio::null()).stdout(OwnedFd::from(theirs));
        let helper = helper.spawn().unwrap();
        // Only the process has the other end now.
        drop(stays);
        let (link, _) = UnixStream::pair().unwrap();
        let (end, _servers) = UnixStream::pair().unwrap();
        relays.add(relays.place().unwrap(), &end.into(), helper, link.into());
        drop(relays);
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    }
}
