//! Helpers, from outside: one is started for each connection, and is gone when its answer has come or its time
//! is up. Only one that relays is kept, see [`Relays`].
//!
//! What it answers is believed as little as a worker: of the descriptor the kernel says what it is, the payload
//! is passed on unread, and the text is escaped.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fdbroker_policy::ConnectSource;
use fdbroker_wire::{Account, Described, Payload, Relay};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, getpeername, socketpair, sockopt};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::abandonment::Abandonment;
use super::killed::{self, wait_until};
use super::relays::{RelayPlace, Relays};
use super::spawner::Spawner;
use crate::helper::answer::{Answer, Failure, MAX_ANSWER, Step};
use crate::helper::handed::Handed;
use crate::helper::job::{Encryption, Job, SocketOwners};
use crate::helper::new_connection::NewConnection;
use crate::sys::receive::receive;
use crate::transmit::transmit;

/// How much sooner a helper is to give up than its caller, so that it says itself what it waited for: a tenth,
/// and no more than this.
const MARGIN: Duration = Duration::from_millis(250);

/// Starts helpers, from any thread.
#[derive(Clone)]
pub(crate) struct Helpers {
    spawner: Arc<Spawner>,
    account: Option<Account>,
    /// How many connections are being made.
    at_work: Arc<AtomicUsize>,
    /// Those that could not be reaped in time.
    left_behind: Arc<Mutex<Vec<Child>>>,
    /// Whether a thread reaps them, or is about to.
    is_reaping: Arc<AtomicBool>,
    relays: Relays,
}

/// A process that is counted.
pub(super) struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that a helper has made.
pub(crate) struct Made {
    pub(crate) descriptor: OwnedFd,
    pub(crate) payload: Payload,
    pub(crate) described: Described,
}

impl Made {
    fn new(descriptor: OwnedFd, connection: NewConnection<'_>, relay: Relay) -> Self {
        let NewConnection { peer, session, payload } = connection;
        let described = Described { relay, peer: peer.to_owned(), session };
        Self { descriptor, payload: payload.into(), described }
    }
}

impl Helpers {
    /// Helpers that become `account`.
    pub(crate) fn new(spawner: Arc<Spawner>, account: Option<Account>) -> Self {
        let (at_work, left_behind, is_reaping) = (Arc::default(), Arc::default(), Arc::default());
        Self { spawner, account, at_work, left_behind, is_reaping, relays: Relays::new() }
    }

    /// Those that stay.
    pub(crate) fn relays(&self) -> &Relays {
        &self.relays
    }

    /// Returns how many there are. One that has ended counts until it is reaped.
    pub(crate) fn count(&self) -> usize {
        self.at_work.load(Ordering::Relaxed) + self.left_behind().len()
    }

    /// Has a thread of the event loop reap those that have ended, relays too.
    pub(crate) fn reap_soon(&self) {
        if self.is_reaping.swap(true, Ordering::Relaxed) {
            return;
        }
        let helpers = self.clone();
        spawn_blocking(move || {
            helpers.reap();
            helpers.relays.reap();
            helpers.is_reaping.store(false, Ordering::Relaxed);
        });
    }

    /// Has a helper make a connection. Blocks for that long at most, or until it is abandoned, and for
    /// the end of a helper that does not stay, for which there is the `place`.
    ///
    /// # Errors
    /// At which step it failed, and why.
    pub(crate) fn connect(
        &self,
        connect: &ConnectSource,
        (handed, owners): (&[(Handed, OwnedFd)], SocketOwners),
        place: Option<RelayPlace>,
        (within, abandonment): (Duration, &Abandonment),
    ) -> Result<Made, Failure> {
        let until = Instant::now() + within;
        let margin = margin(within);
        let job = Job {
            account: self.account,
            within: within.saturating_sub(margin),
            connect: connect.clone(),
            tls: connect.tls.as_deref().map(Encryption::of),
            handed: handed.iter().map(|(handed, _)| *handed).collect(),
            owners,
        };
        let begins = |error: io::Error| Failure::new(Step::Begin, error.to_string());
        let (link, helper) = self.start(&job, handed).map_err(begins)?;
        let _counted = self.at_work();
        let linked = abandonment.link(link.as_fd());
        let answer = match &linked {
            Ok(_) => answer(&link, &job, until - margin / 2),
            Err(error) => Err(Failure::new(Step::Begin, error.to_string())),
        };
        drop(linked);
        let kept = match (&answer, place) {
            (Ok(made), Some(place)) if made.described.relay == Relay::Relayed => {
                self.relays.add(place, &made.descriptor, helper, link)
            }
            _ => Err(helper),
        };
        if let Err(helper) = kept {
            self.end(helper);
        }
        answer
    }

    fn start(&self, job: &Job, handed: &[(Handed, OwnedFd)]) -> io::Result<(OwnedFd, Child)> {
        let bytes = job.to_bytes().map_err(|_| io::ErrorKind::InvalidInput)?;
        let memories: Vec<_> = handed.iter().map(|(_, memory)| memory.as_fd()).collect();
        self.launch("--helper", &bytes, &memories)
    }

    /// Starts a process of this role, which finds a message on its link; returns the link.
    pub(super) fn launch(
        &self,
        role: &str,
        message: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<(OwnedFd, Child)> {
        self.reap();
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        transmit(ours.as_fd(), &[IoSlice::new(message)], descriptors)?;
        let child = self.spawner.spawn(vec![role.to_owned()], theirs, None)?;
        Ok((ours, child))
    }

    /// Whom its processes become.
    pub(super) fn account(&self) -> Option<Account> {
        self.account
    }

    /// Counts a process for as long as what is returned is kept.
    pub(super) fn at_work(&self) -> AtWork {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(&self.at_work))
    }

    /// Kills a helper, and waits until it is gone.
    pub(super) fn end(&self, helper: Child) {
        let left = killed::end(vec![helper]);
        self.left_behind().extend(left);
    }

    fn reap(&self) {
        killed::reap(&mut self.left_behind());
    }

    fn left_behind(&self) -> MutexGuard<'_, Vec<Child>> {
        // A panic while it is locked leaves it whole.
        self.left_behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much sooner to give up than a caller that waits for so long.
pub(crate) fn margin(within: Duration) -> Duration {
    MARGIN.min(within / 10)
}

/// Waits for a helper's answer. One that encrypts must relay, unless the kernel may encrypt, and no other may.
fn answer(link: &OwnedFd, job: &Job, until: Instant) -> Result<Made, Failure> {
    let failed = |why: &str| Err(Failure::new(Step::Begin, why));
    match wait_until(link, until) {
        Ok(()) => {}
        Err(Errno::TIMEDOUT) => {
            return Err(Failure::timed_out(Step::Begin, "no answer; the name look-up may hang"));
        }
        Err(error) => return failed(&error.to_string()),
    }
    // One byte more than the longest, so that what is too long is not cut to fit.
    let mut bytes = Zeroizing::new(vec![0; MAX_ANSWER + 1]);
    let received = receive(link.as_fd(), &mut bytes, |descriptor| descriptor);
    let Ok(received) = received else { return failed("it ended without an answer") };
    let message = bytes.get(..received.length).unwrap_or_default();
    match (Answer::from_bytes(message), received.descriptors.into_iter().next()) {
        (Some(Answer::Made(connection)), Some(descriptor))
            if (job.tls.is_none() || job.is_for_kernel()) && is_connection(&descriptor) =>
        {
            let relay = if job.tls.is_some() { Relay::Ktls } else { Relay::Direct };
            Ok(Made::new(descriptor, connection, relay))
        }
        (Some(Answer::Relayed(connection)), Some(descriptor))
            if job.tls.is_some() && is_connection(&descriptor) =>
        {
            Ok(Made::new(descriptor, connection, Relay::Relayed))
        }
        (Some(Answer::Made(_) | Answer::Relayed(_)), Some(descriptor))
            if is_stream(&descriptor) && getpeername(&descriptor) == Err(Errno::NOTCONN) =>
        {
            let text = "the server has reset the connection right after the log-in";
            Err(Failure::new(Step::LogIn, text))
        }
        (Some(Answer::Failed(failure)), None) => Err(failure),
        _ if message.is_empty() => failed("it ended without an answer"),
        _ => failed("its answer is not valid; it may have been taken over by the server"),
    }
}

/// Whether a descriptor is a stream socket that is connected, as far as the kernel says.
pub(super) fn is_connection(socket: &OwnedFd) -> bool {
    is_stream(socket) && getpeername(socket).is_ok()
}

fn is_stream(socket: &OwnedFd) -> bool {
    let families = [AddressFamily::UNIX, AddressFamily::INET, AddressFamily::INET6];
    let is_of_family = sockopt::socket_domain(socket).is_ok_and(|found| families.contains(&found));
    is_of_family && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
}
