//! What the threads of a process share of an upgrader, and how they ask the broker.
//!
//! One lock over everything. A thread that asks the broker holds it until the answer is there. A
//! thread that waits for an event waits for the condition. Only the watcher (watch.rs) reconnects,
//! so that the tag is claimed again before anything else is asked on a new connection. The broker
//! would take a request on a connection without a claim for another process's.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use fdbroker_wire::claim::Mode;
use fdbroker_wire::{Errno, Tag};
use rustix::event::{EventfdFlags, eventfd};

use super::UpgradeError;
use super::inventory::Inventory;
use super::program::Program;
use super::snapshot::Snapshot;
use super::state_machine::{Duty, Stage, StateMachine};
use crate::{Broker, Connector, Error};

/// What an upgrader was built with.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) tag: Tag,
    pub(crate) mode: Mode,
    /// From when its turn has come until it is ready.
    pub(crate) time: Duration,
    /// Whether a socket may be bound elsewhere than it is asked for.
    pub(crate) any_address: bool,
    /// How long a request waits for a broker that is being restarted.
    pub(crate) retry_for: Duration,
    /// Whose tag it is.
    pub(crate) program: Program,
    /// Never repeats a request by itself.
    pub(crate) connector: Connector,
}

/// What is behind the lock.
pub(crate) struct State {
    pub(crate) terms: Terms,
    pub(crate) machine: StateMachine,
    pub(crate) inventory: Inventory,
    /// What was inherited, to tell whether it has changed since.
    pub(crate) snapshot: Snapshot,
    pub(crate) link: Link,
    /// Which broker it is: another one after each start of it as a whole.
    pub(crate) instance: i64,
    /// Whether the claim was made again on another connection before this process was ready.
    pub(crate) doubtful: bool,
}

/// The connection to the broker.
#[derive(Debug)]
pub(crate) enum Link {
    /// The tag is claimed on it.
    Up(Box<Broker>),
    /// It was lost, or could not be made, because of this.
    Down(Arc<Error>),
    /// It is not needed any more.
    Closed,
}

/// What the threads share.
pub(crate) struct Shared {
    tag: Tag,
    state: Mutex<State>,
    changed: Condvar,
    /// Wakes the watcher.
    pub(crate) bell: OwnedFd,
    /// Whether nobody waits any more for the turn to come.
    given_up: AtomicBool,
    #[cfg(feature = "tokio")]
    pub(crate) progress: ::tokio::sync::watch::Sender<super::state_machine::Progress>,
}

pub(crate) type Guard<'a> = MutexGuard<'a, State>;

impl Shared {
    pub(crate) fn new(state: State) -> io::Result<Self> {
        Ok(Self {
            tag: state.terms.tag,
            state: Mutex::new(state),
            changed: Condvar::new(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            given_up: AtomicBool::new(false),
            #[cfg(feature = "tokio")]
            progress: ::tokio::sync::watch::Sender::default(),
        })
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        // A thread that panicked changed one thing at a time: what it left is of a piece.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<Guard<'_>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Tells everybody who waits that something has changed.
    pub(crate) fn tell(&self, state: &State) {
        self.changed.notify_all();
        #[cfg(feature = "tokio")]
        self.progress.send_replace(state.machine.progress());
        #[cfg(not(feature = "tokio"))]
        let _ = state;
    }

    /// Wakes the watcher.
    pub(crate) fn ring(&self) {
        // It fails only when 2⁶⁴−2 rings were not heard.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Stops every wait for the turn. This call waits for nothing itself: the watcher, which takes
    /// the lock, wakes the threads that still wait.
    #[cfg(feature = "tokio")]
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.ring();
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Waits until something has changed, or the end.
    pub(crate) fn wait<'a>(&'a self, state: Guard<'a>, end: Option<Instant>) -> Guard<'a> {
        let Some(end) = end else {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let left = end.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout(state, left);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until something has changed that the broker tells; not much longer than it may take to
    /// reach it again.
    pub(crate) fn wait_on_link<'a>(&'a self, state: Guard<'a>) -> Result<Guard<'a>, UpgradeError> {
        if let Link::Up(_) = state.link {
            return Ok(self.wait(state, None));
        }
        let end = Instant::now() + state.terms.retry_for;
        self.connected(state, end)
    }

    /// Asks the broker. `admit` says whether the question may be asked; it is looked at again
    /// before each repetition on a new connection.
    pub(crate) fn ask<'a, T>(
        &'a self,
        mut state: Guard<'a>,
        admit: impl Fn(&StateMachine) -> Result<(), UpgradeError>,
        mut question: impl FnMut(&mut Broker, &mut Inventory) -> Result<T, Error>,
    ) -> Result<(Guard<'a>, T), UpgradeError> {
        let end = Instant::now() + state.terms.retry_for;
        loop {
            state = self.connected(state, end)?;
            admit(&state.machine)?;
            let State { link: Link::Up(broker), inventory, .. } = &mut *state else { continue };
            let answer = question(broker, inventory);
            let told = state.take_in();
            let tag = state.terms.tag;
            match answer {
                Ok(answer) => {
                    self.tell_if(told, &state);
                    return Ok((state, answer));
                }
                Err(error) if is_passing(&error) => state.lose(error),
                Err(error) => {
                    state.heed(&error);
                    self.tell(&state);
                    self.ring();
                    // An event that came with the answer says why better than the answer does.
                    state.machine.is_alive()?;
                    return Err(refused(tag, error));
                }
            }
            self.tell(&state);
            self.ring();
        }
    }

    /// Waits until there is a connection on which the tag is claimed.
    fn connected<'a>(
        &'a self,
        mut state: Guard<'a>,
        end: Instant,
    ) -> Result<Guard<'a>, UpgradeError> {
        loop {
            state.machine.is_alive()?;
            match &state.link {
                Link::Up(_) => return Ok(state),
                Link::Down(source) if Instant::now() >= end => {
                    return Err(UpgradeError::Lost {
                        tag: state.terms.tag,
                        source: source.clone(),
                    });
                }
                _ => state = self.wait(state, Some(end)),
            }
        }
    }

    fn tell_if(&self, told: bool, state: &State) {
        if told {
            self.tell(state);
            self.ring();
        }
    }
}

/// Shows an upgrader. It does not wait for the lock, whose holder may wait for the broker.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Upgrader");
        shown.field("tag", &format_args!("{}", self.tag));
        if let Some(state) = self.try_lock() {
            shown.field("stage", state.machine.stage());
            shown.field("names", &state.inventory.count());
            shown.field("inherited", &state.inventory.inherited());
        }
        shown.finish_non_exhaustive()
    }
}

impl State {
    /// Takes in the events that have come; whether anything has changed.
    pub(crate) fn take_in(&mut self) -> bool {
        let mut changed = false;
        while let Link::Up(broker) = &mut self.link {
            match broker.pending_event() {
                Ok(Some(event)) => match self.machine.heed(event) {
                    Duty::None => {}
                    Duty::ReleaseAgain { claim } => self.release_again(claim),
                },
                Ok(None) => break,
                Err(error) => self.lose(error),
            }
            changed = true;
        }
        changed
    }

    fn release_again(&mut self, claim: i32) {
        let tag = self.terms.tag;
        // Any other no is about a claim that has ended, and its event comes.
        match &mut self.link {
            Link::Up(broker) => match broker.release_to(tag, claim) {
                Err(error) if error.is_lost() => self.lose(error),
                _ => {}
            },
            Link::Down(_) | Link::Closed => {}
        }
    }

    /// Takes in what an error tells beside its being one.
    pub(crate) fn heed(&mut self, error: &Error) {
        if matches!(error, Error::TakenOver { .. }) {
            self.machine.advance(Stage::Completed);
        }
        if error.is_lost() {
            // What is asked first on the next connection has to be a claim.
            let source = io::ErrorKind::NotConnected.into();
            self.lose(Error::Broken { attempt: error.attempt().clone(), source });
        }
    }

    /// Notes that the connection is lost.
    pub(crate) fn lose(&mut self, error: Error) {
        self.link = Link::Down(Arc::new(error));
    }
}

/// Whether an error may be gone on another connection.
pub(crate) fn is_passing(error: &Error) -> bool {
    match error {
        Error::Broken { .. } | Error::Timeout { .. } => true,
        error => error.errno() == Some(Errno::AGAIN),
    }
}

/// What an error of the broker means here.
pub(crate) fn refused(tag: Tag, error: Error) -> UpgradeError {
    match error {
        Error::Claimed { .. } => UpgradeError::InProgress { tag },
        Error::TakenOver { .. } => UpgradeError::Completed { tag },
        error => UpgradeError::Broker(error),
    }
}
