//! One resource, and how it is opened for each caller: on threads, of which it has a few.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fdbroker_policy::Opening;
use fdbroker_types::quoted;
use fdbroker_wire::connection::LEASE;
use fdbroker_wire::{Errno, Lease, MAX_PAYLOAD, Opened, Payload, named};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::caller::Caller;
use super::failure::OpenFailure;
use super::failures::Failures;
use super::lanes::{Lane, MAX_OF_KIND, MAX_OPENING, Permits};
use super::openable::Openable;
use super::ready::ReadyPool;
use super::shared::Shared;
use crate::fd::{CloseQueue, PeerFd};
use crate::payer::Payer;
use crate::supervisor::deposits::unclosed::OpeningNotice;
use crate::supervisor::leases::holders::{FEW, HolderPlace, Holders};
use crate::supervisor::leases::{LeaseNumber, LeaseOffer, Numbers, times};
use crate::supervisor::news::Told;
use crate::supervisor::workers::charges::Charge;

/// How long they wait. A resource that opens takes far less.
const HANGS: Duration = Duration::from_secs(1);
/// How many may wait for that. Each user has a few at most.
const MAX_WAITING: usize = 4096;
/// The most places that are counted.
const MAX_PLACES: usize = 1 << 20;

/// An answer on its way to the worker.
pub(crate) struct OpenAnswer {
    /// The question's.
    pub(crate) ticket: u32,
    pub(crate) outcome: Result<Arc<Opened<PeerFd>>, OpenFailure>,
    /// What the log is to say: that it fails, or that it does not fail any more.
    pub(crate) said: Option<String>,
    /// On which terms the caller gets it.
    pub(crate) lease: Option<LeaseOffer>,
}

/// One that waits.
struct Waits(Arc<AtomicUsize>);

#[derive(Clone)]
pub(super) struct ResourceEntry {
    pub(super) openable: Arc<Openable>,
    /// Opened once, where the policy says so.
    shared: Option<Arc<Shared>>,
    ready: Option<Arc<ReadyPool>>,
    /// As many places as there may be holders. They are counted for the next policy, too.
    holders: Holders,
    numbers: Numbers,
    lane: Lane,
    waiting: Arc<AtomicUsize>,
    /// Failures that were said.
    failures: Arc<Mutex<Failures>>,
    close_queue: CloseQueue,
}

impl ResourceEntry {
    /// The leases of a resource of the same name in a policy before keep their places, which are `former`.
    pub(super) fn new(
        openable: Openable,
        numbers: Numbers,
        lane: Lane,
        close_queue: &CloseQueue,
        former: Option<&Holders>,
    ) -> Self {
        let openable = Arc::new(openable);
        let shared = match openable.resource().opening {
            Opening::PerRequest => None,
            Opening::Startup => Some(Shared::new(close_queue)),
        };
        let (waiting, failures) = (Arc::default(), Arc::default());
        let close_queue = close_queue.clone();
        let ready = openable.resource().ready;
        let ready = ready.map(|terms| ReadyPool::new(terms, close_queue.clone()));
        let holders = openable.resource().lease.and_then(|terms| terms.holders);
        let holders = holders.and_then(|holders| usize::try_from(holders.get()).ok());
        let places = holders.map_or(usize::MAX, |holders| holders.min(MAX_PLACES));
        let holders = match former {
            Some(former) => former.resized(places),
            None => Holders::new(places),
        };
        Self { openable, shared, ready, holders, numbers, lane, waiting, failures, close_queue }
    }

    /// Opens it, where it is opened once. `open` may have a bound.
    ///
    /// # Errors
    /// If it fails; then it can be tried again.
    pub(super) fn open_once(
        &self,
        open: impl Fn(&Arc<Openable>) -> Result<Opened<OwnedFd>, OpenFailure>,
    ) -> Result<(), OpenFailure> {
        let Some(shared) = self.shared.as_ref().filter(|shared| shared.get().is_none()) else {
            return Ok(());
        };
        match open(&self.openable) {
            Ok(opened) => {
                shared.keep(opened);
                Ok(())
            }
            Err(failure) => {
                // The next failure is no news.
                self.failures().failed(&failure.text);
                Err(failure)
            }
        }
    }

    /// Opens it again if it has failed, or if another device has taken its place; returns whether it did. Can block.
    pub(super) fn look_again(&self) -> bool {
        let Some(shared) = &self.shared else { return false };
        let Some(_permits) = self.lane.try_enter() else { return false };
        let opened = shared.open_again(&self.openable);
        if let Ok(true) = opened {
            // It is told that it is open.
            let _ = self.failures().succeeded();
        }
        opened.unwrap_or(false)
    }

    /// The path to look at: where a device may appear that is missing, or that takes the place of what is open. Not that
    /// of a file: to look at one can sleep in its file system.
    pub(super) fn watched_path(&self) -> Option<PathBuf> {
        self.shared.as_ref()?;
        self.openable.path().filter(|_| self.openable.is_device()).map(Path::to_owned)
    }

    /// Whether it is opened once, and is open.
    pub(super) fn is_open(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.get().is_some())
    }

    /// Whether it is opened once, and has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.get().is_none())
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        // A panic while it is locked leaves it whole.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what is to be ready kept ready. On the event loop.
    pub(super) fn keep_ready(&self, told: &Told) {
        let keep = |pool: &Arc<ReadyPool>| pool.keep(&self.openable, &self.lane, told);
        self.ready.iter().for_each(keep);
    }

    /// Those who hold it.
    pub(super) fn holders(&self) -> &Holders {
        &self.holders
    }

    /// Takes a place among the holders for somebody who has had one.
    pub(super) fn place_again(&self, payer: Payer) -> HolderPlace {
        self.holders.take_again(payer)
    }

    /// Whether the next policy can keep it as it is: what is open is what its path leads to. Can block.
    pub(super) fn is_current(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.is_current(&self.openable))
    }

    /// Answers with what all share; if it has failed, a thread tries again.
    fn open_shared(
        &self,
        shared: &Arc<Shared>,
        caller: Caller,
        answer: UnboundedSender<OpenAnswer>,
    ) {
        let ticket = caller.ticket;
        let send = move |answer: &UnboundedSender<OpenAnswer>, entry: &Self, outcome| {
            // A closed channel means that the worker has gone, and its question with it.
            let _ = answer.send(entry.answer(ticket, outcome));
        };
        if let Some(opened) = shared.get() {
            return send(&answer, self, Ok(opened));
        }
        let Some(permits) = self.lane.try_enter() else {
            return send(&answer, self, Err(busy(self.openable.name())));
        };
        let (entry, shared) = (self.clone(), Arc::clone(shared));
        tokio::task::spawn_blocking(move || {
            let outcome = shared.open(&entry.openable);
            drop(permits);
            send(&answer, &entry, outcome);
        });
    }

    /// Opens it for a caller, once there is a place among the holders.
    pub(super) fn open(&self, mut caller: Caller, answer: UnboundedSender<OpenAnswer>) {
        if let Some(shared) = &self.shared {
            return self.open_shared(shared, caller, answer);
        }
        if self.openable.resource().lease.is_none() {
            return self.open_now(caller, answer);
        }
        if caller.process.is_none() {
            return self.refuse_unknown(&caller, &answer);
        }
        if let Some(place) = self.holders.try_take(caller.payer) {
            caller.place = Some(place);
            return self.open_now(caller, answer);
        }
        let Some(waits) = self.waits() else { return self.refuse(caller, &answer) };
        let entry = self.clone();
        tokio::spawn(async move {
            let wait = entry.openable.resource().lease.map_or(HANGS, |terms| terms.wait);
            let place = tokio::select! {
                place = timeout(wait, entry.holders.take(caller.payer)) => place,
                () = caller.question.withdrawn() => return refuse_user(&caller, has_left(), &answer),
                // The worker has gone.
                () = answer.closed() => return,
            };
            drop(waits);
            match place {
                Ok(Some(place)) => entry.open_now(Caller { place: Some(place), ..caller }, answer),
                _ => entry.refuse_holder(&caller, &answer),
            }
        });
    }

    /// Counts another one that waits; `None` if there are too many.
    fn waits(&self) -> Option<Waits> {
        let waits = Waits(Arc::clone(&self.waiting));
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(waits)
    }

    /// Takes one that is ready, or else has a thread open one. Whether a user has too many already is looked at by a
    /// thread, too.
    fn open_now(&self, mut caller: Caller, answer: UnboundedSender<OpenAnswer>) {
        caller.charge = self.openable.charge(caller.payer);
        let may_have_it = caller.charge.is_some() || !self.openable.is_charged_for();
        match may_have_it.then(|| self.take_ready(&mut caller.charge)).flatten() {
            Some(opened) => self.hand_out(Ok(opened), caller, &answer),
            None => self.open_elsewhere(caller, answer),
        }
    }

    /// Takes one that is ready, if there is one, for the user who has been charged for it.
    fn take_ready(&self, charge: &mut Option<Charge>) -> Option<Opened<OwnedFd>> {
        let opened = self.ready.as_ref()?.take()?;
        charge.take().into_iter().for_each(|charge| self.openable.is_handed_out(&opened, charge));
        Some(opened)
    }

    fn hand_out(
        &self,
        outcome: Result<Opened<OwnedFd>, OpenFailure>,
        caller: Caller,
        answer: &UnboundedSender<OpenAnswer>,
    ) {
        let opened = outcome.is_ok().then(|| self.openable.resource());
        let (ticket, notice) = (caller.ticket, caller.notice(opened));
        let number = self.openable.resource().lease.map(|_| self.numbers.next());
        let outcome = outcome.map(|opened| {
            let opened = opened.leased(number.map(|LeaseNumber(number)| number));
            let is_connection = opened.connection().is_some();
            let number = number.filter(|_| is_connection);
            let opened = opened.with_payload(|payload| numbered(payload, number));
            Arc::new(caller.held(opened, &notice, &self.close_queue))
        });
        let opened = outcome.as_ref().ok();
        let lease = opened.and_then(|opened| self.offer(number?, opened, caller, notice));
        // A closed channel means that the worker has gone, and its question with it.
        let _ = answer.send(OpenAnswer { lease, ..self.answer(ticket, outcome) });
    }

    fn offer(
        &self,
        LeaseNumber(number): LeaseNumber,
        opened: &Opened<PeerFd>,
        caller: Caller,
        notice: Arc<Option<OpeningNotice>>,
    ) -> Option<LeaseOffer> {
        let resource = self.openable.resource();
        let (since, expires) = times::from_now(resource.lease?.ttl);
        let Caller { uid, payer, pid, process, place, .. } = caller;
        let lease = Lease {
            number,
            resource: resource.name.clone(),
            slot: resource.slot,
            connection: opened.connection().cloned().unwrap_or_default(),
            uid: uid.0,
            pid,
            since,
            expires,
        };
        Some(LeaseOffer { lease, place, payer, process, until_closed: notice })
    }

    /// Refuses a lease that would not end with the process that asked.
    fn refuse_unknown(&self, caller: &Caller, answer: &UnboundedSender<OpenAnswer>) {
        let name = quoted(self.openable.name());
        let text = format!(
            "resource {name}: the process that asked has ended, or the kernel does not name it: there \
             is no process to tie a lease to"
        );
        refuse_user(caller, OpenFailure { errno: Errno::ACCES, text }, answer);
    }

    /// Everybody who may hold it does, and nobody has given it back in time.
    fn refuse_holder(&self, caller: &Caller, answer: &UnboundedSender<OpenAnswer>) {
        let resource = self.openable.resource();
        let holders = resource.lease.and_then(|terms| terms.holders).map_or(0, |it| it.get());
        let wait = resource.lease.map_or(HANGS, |terms| terms.wait);
        let text = format!(
            "resource {name}: all {holders} are held (`holders`){last}, and none was given back within \
             {} ms (`wait`); `fdbroker leases` tells an operator who has them",
            wait.as_millis(),
            last = but_for_the_last(self.holders.kept()),
            name = quoted(self.openable.name())
        );
        refuse_user(caller, OpenFailure { errno: Errno::BUSY, text }, answer);
    }

    /// Opens it on a thread, at once where there are few that do. Where there are many, it waits for
    /// one of them to end: all of them hang if none does.
    fn open_elsewhere(&self, caller: Caller, answer: UnboundedSender<OpenAnswer>) {
        let entry = self.clone();
        if let Some(permits) = self.lane.try_enter() {
            return entry.open_on_thread(permits, caller, answer);
        }
        let Some(waits) = self.waits() else { return self.refuse(caller, &answer) };
        tokio::spawn(async move {
            let permits = tokio::select! {
                permits = timeout(HANGS, entry.lane.enter()) => permits,
                () = caller.question.withdrawn() => return refuse_user(&caller, has_left(), &answer),
            };
            drop(waits);
            match permits {
                Ok(Some(permits)) => entry.open_on_thread(permits, caller, answer),
                _ => entry.refuse(caller, &answer),
            }
        });
    }

    fn open_on_thread(
        self,
        permits: Permits,
        mut caller: Caller,
        answer: UnboundedSender<OpenAnswer>,
    ) {
        tokio::task::spawn_blocking(move || {
            let mut charge = match self.openable.charged(caller.payer, caller.charge.take()) {
                Ok(charge) => charge,
                Err(failure) => return refuse_user(&caller, failure, &answer),
            };
            let began = Instant::now();
            // One may have become ready.
            let ready = self.take_ready(&mut charge);
            let abandonment = caller.question.abandonment();
            let outcome = ready.map_or_else(|| self.openable.open(charge, abandonment), Ok);
            if abandonment.is_abandoned() {
                // Closed before anybody else may open it.
                drop(outcome);
                return self.was_left(&caller, began.elapsed(), &answer);
            }
            drop(permits);
            self.hand_out(outcome, caller, &answer);
        });
    }

    /// Its caller has left while it was being opened. That a server keeps its callers waiting is said like a failure: else
    /// nobody would hear of it where all of them give up.
    fn was_left(&self, caller: &Caller, after: Duration, answer: &UnboundedSender<OpenAnswer>) {
        let name = quoted(self.openable.name());
        let text =
            format!("resource {name}: its callers leave before they have it; check the server");
        let is_news = after >= HANGS && self.failures().failed(&text);
        let said = is_news.then(|| format!("{text}; one after {} ms", after.as_millis()));
        refuse(caller, has_left(), said, answer);
    }

    fn refuse(&self, caller: Caller, answer: &UnboundedSender<OpenAnswer>) {
        self.hand_out(Err(busy(self.openable.name())), caller, answer);
    }

    /// Returns an answer, with what the log says of it: of many failures the first of each reason, and their
    /// number once it opens again.
    fn answer(&self, ticket: u32, outcome: Result<Arc<Opened<PeerFd>>, OpenFailure>) -> OpenAnswer {
        let mut failures = self.failures();
        let said = match &outcome {
            Err(failure) => failures.failed(&failure.text).then(|| failure.text.clone()),
            Ok(_) => failures.succeeded().map(|count| {
                let name = quoted(self.openable.name());
                format!("resource {name} can be opened again; failed attempts before that: {count}")
            }),
        };
        OpenAnswer { ticket, outcome, said, lease: None }
    }
}

/// Refuses a caller for what it, or others, have already. It is no fault of the resource: the record says it.
fn refuse_user(caller: &Caller, failure: OpenFailure, answer: &UnboundedSender<OpenAnswer>) {
    refuse(caller, failure, None, answer);
}

/// Refuses a caller; the log says this of it.
fn refuse(
    caller: &Caller,
    failure: OpenFailure,
    said: Option<String>,
    answer: &UnboundedSender<OpenAnswer>,
) {
    let (outcome, lease) = (Err(failure), None);
    // A closed channel means that the worker has gone, and its question with it.
    let _ = answer.send(OpenAnswer { ticket: caller.ticket, outcome, said, lease });
}

/// The answer to a caller that has left. It ends the charge of the question; nobody reads it.
fn has_left() -> OpenFailure {
    OpenFailure { errno: Errno::AGAIN, text: "the caller has left".to_owned() }
}

/// Which places a user who has many does not get.
fn but_for_the_last(kept: usize) -> String {
    if kept == 0 {
        return String::new();
    }
    format!(" or the last {kept} are left, for users who have fewer than {FEW}")
}

/// Adds the number of its lease to the payload of a connection, which is not read for that. Where there is no room, the
/// process can still end.
fn numbered(payload: Payload, number: Option<LeaseNumber>) -> Payload {
    let Some(number) = number else { return payload };
    let (mut bytes, value) = (payload.to_vec(), number.to_string());
    let fits = bytes.len() + named::size(LEASE, value.as_bytes()) <= MAX_PAYLOAD;
    if fits && named::push(&mut bytes, LEASE, value.as_bytes()).is_ok() {
        return bytes.into();
    }
    payload
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn busy(name: &str) -> OpenFailure {
    let text = format!(
        "resource {name}: {MAX_OPENING} callers already wait for it to open, or {MAX_OF_KIND} for it \
         and others like it; a device or server does not respond",
        name = quoted(name)
    );
    OpenFailure { errno: Errno::BUSY, text }
}
