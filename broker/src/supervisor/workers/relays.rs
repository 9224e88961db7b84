//! Helpers that stay, from outside: each passes on what goes between a caller and a server that speaks TLS.
//!
//! One ends by itself when its connection does. Each has a place, of which there are so many, and is on an account,
//! from before its helper is started until the helper has been reaped. A relay is known by the caller's end of its
//! pair of sockets. The event loop only charges and counts: processes are reaped on other threads.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fdbroker_policy::Ready;
use rustix::fs::fstat;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::charges::{Account, Bounds, Charge, Charges};
use super::killed;
use crate::fd::table;

/// The most in all. Each has less than 3 MiB of memory of its own.
const MOST: usize = 512;
/// The part of the descriptor table that their links may have. No worker charges anybody for these.
const PART: u64 = 4;
/// The last ones are for users who have few: so that a few users with many do not shut out all others. Which part of
/// all these are.
const KEPT: usize = 8;
/// The most that one user has: which part of all.
const OF_A_USER: usize = 4;
/// The most that are ready. No policy asks for more.
const MOST_READY: usize = Ready::MOST_ENCRYPTED as usize;

/// All of them.
#[derive(Clone)]
pub(crate) struct Relays(Arc<All>);

struct All {
    most: usize,
    places: Arc<Semaphore>,
    charges: Charges,
    /// Never locked for longer than it takes to look one up.
    running: Mutex<BTreeMap<CallersEnd, Relay>>,
    /// Locked while they are reaped, so never by the loop.
    helpers: Mutex<Vec<(CallersEnd, Child)>>,
}

/// The number of the caller's socket, which no other one has while the relay runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CallersEnd(u64);

/// A place for one that is being made, and the account that it is on.
pub(crate) struct RelayPlace {
    _permit: OwnedSemaphorePermit,
    charge: Charge,
}

struct Relay {
    /// It ends when this is closed.
    _link: OwnedFd,
    place: RelayPlace,
}

impl Relays {
    pub(crate) fn new() -> Self {
        let most = MOST.min(table::part(PART));
        Self::of(most, Bounds { of_a_user: most / OF_A_USER, ready: MOST_READY.min(most) })
    }

    /// So many at most, and so many of each account.
    fn of(most: usize, bounds: Bounds) -> Self {
        let (places, charges) = (Arc::new(Semaphore::new(most)), Charges::within(bounds));
        let (running, helpers) = (Mutex::default(), Mutex::default());
        Self(Arc::new(All { most, places, charges, running, helpers }))
    }

    /// Returns how many one user may have.
    pub(crate) fn most_of_a_user(&self) -> usize {
        self.0.most / OF_A_USER
    }

    /// Returns how many are for users who have few.
    pub(crate) fn kept(&self) -> usize {
        self.0.most / KEPT
    }

    /// Charges an account; `None` if it has as many as it may have. One that has ended counts until it is reaped.
    pub(crate) fn charge(&self, account: Account) -> Option<Charge> {
        self.0.charges.charge(account)
    }

    /// The same, after a look at which have ended. Not to be called on the loop.
    pub(crate) fn charge_after_look(&self, account: Account) -> Option<Charge> {
        self.after_look(|| self.charge(account))
    }

    /// Returns a place, or `None` if all are taken that the account may have. Not to be called on the loop.
    pub(crate) fn place(&self, charge: Charge) -> Option<RelayPlace> {
        let permit = self.after_look(|| self.permit(&charge));
        permit.map(|permit| RelayPlace { _permit: permit, charge })
    }

    fn permit(&self, charge: &Charge) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        let is_one_of_the_last = self.0.places.available_permits() < self.kept();
        (!is_one_of_the_last || charge.is_one_of_few()).then_some(permit)
    }

    fn after_look<T>(&self, take: impl Fn() -> Option<T>) -> Option<T> {
        take().or_else(|| {
            self.reap();
            take()
        })
    }

    /// Keeps a helper that has handed this end over, and its link.
    ///
    /// # Errors
    /// The helper, if it cannot be told from others: it is to be ended.
    pub(crate) fn add(
        &self,
        place: RelayPlace,
        end: &OwnedFd,
        helper: Child,
        link: OwnedFd,
    ) -> Result<(), Child> {
        let Some(end) = CallersEnd::of(end) else { return Err(helper) };
        let mut running = self.running();
        if running.contains_key(&end) {
            return Err(helper);
        }
        running.insert(end, Relay { _link: link, place });
        drop(running);
        self.helpers().push((end, helper));
        Ok(())
    }

    /// Such an end, which was ready, is handed out: from now on it is on another account.
    pub(crate) fn is_handed_out(&self, end: &OwnedFd, charge: Charge) {
        let Some(end) = CallersEnd::of(end) else { return };
        if let Some(relay) = self.running().get_mut(&end) {
            relay.place.charge = charge;
        }
    }

    /// Returns how many there are. One that has ended counts until it is reaped.
    pub(crate) fn count(&self) -> usize {
        self.running().len()
    }

    /// Reaps those that have ended. Not to be called on the loop.
    pub(super) fn reap(&self) {
        let mut ended = Vec::new();
        let mut helpers = self.helpers();
        helpers.retain_mut(|(end, helper)| {
            let runs = matches!(helper.try_wait(), Ok(None));
            if !runs {
                ended.push(self.running().remove(end));
            }
            runs
        });
        drop(helpers);
    }

    /// A panic while it is locked leaves it whole.
    fn running(&self) -> MutexGuard<'_, BTreeMap<CallersEnd, Relay>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic while it is locked leaves it whole.
    fn helpers(&self) -> MutexGuard<'_, Vec<(CallersEnd, Child)>> {
        self.0.helpers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallersEnd {
    fn of(end: impl AsFd) -> Option<Self> {
        fstat(end).ok().map(|found| Self(found.st_ino))
    }
}

impl Drop for All {
    /// Nothing is left of those that do not heed their links either.
    fn drop(&mut self) {
        let helpers = self.helpers.get_mut().unwrap_or_else(PoisonError::into_inner);
        let helpers = helpers.drain(..).map(|(_, helper)| helper).collect();
        // What does not end now is reaped by the process that inherits them.
        drop(killed::end(helpers));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::super::charges::FEW;
    use super::*;
    use crate::payer::Payer;

    const USER: Account = Account::User(Payer::named(7));
    const ANOTHER: Account = Account::User(Payer::named(8));
    const BOUNDS: Bounds = Bounds { of_a_user: 2, ready: 1 };

    fn place(relays: &Relays, account: Account) -> Option<RelayPlace> {
        relays.place(relays.charge_after_look(account)?)
    }

    /// A process that ends with its link, as a relay does, and the caller's end.
    fn add(relays: &Relays, place: RelayPlace) -> OwnedFd {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut helper = Command::new("cat");
        helper.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let (end, _servers) = UnixStream::pair().unwrap();
        let end = OwnedFd::from(end);
        assert!(relays.add(place, &end, helper.spawn().unwrap(), ours.into()).is_ok());
        end
    }

    #[test]
    fn there_are_so_many_relays_and_an_account_has_a_part_of_them() {
        let relays = Relays::of(4, BOUNDS);
        let first = place(&relays, USER).unwrap();
        let _second = place(&relays, USER).unwrap();
        assert!(relays.charge(USER).is_none(), "they count before there are any");
        add(&relays, first);
        assert!(relays.charge_after_look(USER).is_none() && relays.count() == 1);
        let _others: Vec<_> = (0..2).map(|_| place(&relays, ANOTHER).unwrap()).collect();
        let ready = relays.charge(Account::Ready).unwrap();
        assert!(relays.place(ready).is_none(), "all places are taken");
    }

    #[test]
    fn the_last_relays_are_for_users_who_have_few() {
        let bounds = Bounds { of_a_user: MOST / OF_A_USER, ready: MOST_READY };
        let relays = Relays::of(MOST, bounds);
        assert_eq!((relays.most_of_a_user(), relays.kept()), (128, 64));
        let user = |number| Account::User(Payer::named(number));
        let all_of = |account| std::iter::from_fn(|| place(&relays, account)).collect::<Vec<_>>();
        let counts = |held: &[Vec<RelayPlace>]| held.iter().map(Vec::len).collect::<Vec<_>>();
        let many: Vec<_> = (1..=4).map(|number| all_of(user(number))).collect();
        assert_eq!(counts(&many), [128, 128, 128, MOST - 64 - 3 * 128]);
        let few: Vec<_> = (5..).map(|number| all_of(user(number))).take(64 / FEW).collect();
        assert_eq!(counts(&few), [FEW; 64 / FEW]);
        assert!(place(&relays, user(1000)).is_none(), "all places are taken");
        drop((many, few));
        assert_eq!(all_of(Account::Ready).len(), MOST_READY);
    }

    #[test]
    fn one_that_is_ready_is_on_an_account_of_its_own_until_a_user_has_it() {
        let relays = Relays::of(4, BOUNDS);
        let end = add(&relays, place(&relays, Account::Ready).unwrap());
        assert!(relays.charge_after_look(Account::Ready).is_none());
        let charges = [relays.charge(USER).unwrap(), relays.charge(USER).unwrap()];
        let [charge, another] = charges;
        relays.is_handed_out(&end, charge);
        assert!(relays.charge(Account::Ready).is_some());
        drop(another);
        let _next = relays.charge(USER).unwrap();
        assert!(relays.charge(USER).is_none(), "it is the user's now");
    }

    #[test]
    fn one_that_has_ended_counts_until_it_is_reaped() {
        let relays = Relays::of(1, Bounds { of_a_user: 1, ready: 1 });
        add(&relays, place(&relays, USER).unwrap());
        // It ends by itself.
        relays.helpers().iter_mut().for_each(|(_, helper)| helper.kill().unwrap());
        assert!(relays.charge(USER).is_none(), "the loop does not look");
        while relays.count() > 0 {
            relays.reap();
        }
        assert!(place(&relays, USER).is_some());
    }

    #[test]
    fn one_that_is_given_up_is_killed_and_leaves_no_zombie() {
        let relays = Relays::of(1, BOUNDS);
        let helper = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let number = helper.id();
        let (link, _) = UnixStream::pair().unwrap();
        let (end, _servers) = UnixStream::pair().unwrap();
        let place = place(&relays, USER).unwrap();
        assert!(relays.add(place, &end.into(), helper, link.into()).is_ok());
        drop(relays);
        assert!(!std::path::Path::new(&format!("/proc/{number}")).exists());
    }

    #[test]
    fn a_helper_with_the_end_of_another_relay_is_given_back() {
        let relays = Relays::of(2, BOUNDS);
        let end = add(&relays, place(&relays, USER).unwrap());
        let (link, _) = UnixStream::pair().unwrap();
        let helper = Command::new("true").spawn().unwrap();
        let place = place(&relays, USER).unwrap();
        let mut given_back = relays.add(place, &end, helper, link.into()).unwrap_err();
        given_back.wait().unwrap();
        assert!(relays.count() == 1 && relays.charge(USER).is_some());
    }
}
