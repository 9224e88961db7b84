//! The watcher: a thread that receives the broker's events while nothing is asked, and claims the
//! tag again at once if the connection is lost.
//!
//! It ends with the upgrader's machine, and closes the connection then.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use fdbroker_wire::claim::{Claimed, Mode, State as ClaimState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::due::deposit_all;
use super::inventory::Inventory;
use super::shared::{Link, Shared, State, Terms, is_passing};
use super::snapshot::fetch;
use super::state_machine::Stage;
use crate::{Broker, Error};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a claimant has to come back, at least, when the connections were lost.
const GRACE: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(crate) fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("fdbroker-upgrader".to_owned()).spawn(move || watch(&shared))
}

/// What the watcher does until somebody rings.
enum Next {
    /// Waits for the broker, at most so long.
    Watch(OwnedFd, Option<Duration>),
    /// Tries again after so long.
    Pause(Duration),
    /// Ends.
    End,
}

fn watch(shared: &Shared) {
    let mut pause = Duration::ZERO;
    loop {
        // The connection is not held while the lock is not: one that was given up is closed.
        let next = {
            let mut state = shared.lock();
            let next = state.tend(&mut pause);
            shared.tell(&state);
            next
        };
        match next {
            Next::Watch(connection, limit) => wait(shared, Some(connection), limit),
            Next::Pause(pause) => wait(shared, None, Some(pause)),
            Next::End => return,
        }
    }
}

/// Waits for the bell, the broker, or the end of the time.
fn wait(shared: &Shared, connection: Option<OwnedFd>, limit: Option<Duration>) {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let mut sources = vec![PollFd::new(&shared.bell, PollFlags::IN)];
    sources.extend(connection.as_ref().map(|connection| PollFd::new(connection, PollFlags::IN)));
    // Interrupted is as good as woken: what there is to do is looked for anyway.
    let _ = poll(&mut sources, limit.as_ref());
    // Not blocking; empty unless somebody rang.
    let _ = rustix::io::read(&shared.bell, &mut [0; 8]);
}

impl State {
    /// Does what there is to do, and says what to wait for.
    fn tend(&mut self, pause: &mut Duration) -> Next {
        self.take_in();
        if matches!(self.link, Link::Down(_)) && !self.machine.is_over() {
            match self.claim_again() {
                Ok(()) => *pause = Duration::ZERO,
                Err(error) => self.lose(error),
            }
            self.take_in();
        }
        let limit = self.machine.expect_claimant(Instant::now());
        if self.machine.is_over() {
            self.link = Link::Closed;
            self.inventory.drop_spares();
            return Next::End;
        }
        match &self.link {
            Link::Up(broker) => match broker.as_fd().try_clone_to_owned() {
                Ok(connection) => Next::Watch(connection, limit),
                // The table of this process is full.
                Err(_) => Next::Pause(LONGEST_PAUSE),
            },
            Link::Down(_) | Link::Closed => {
                let now = *pause;
                *pause = (now * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                Next::Pause(now)
            }
        }
    }

    /// Claims the tag on a new connection. An error that lasts ends the machine, but not of a
    /// process that serves: it goes on, and tries again.
    fn claim_again(&mut self) -> Result<(), Error> {
        let mode = match self.machine.stage() {
            Stage::Waiting | Stage::Granted => self.terms.mode,
            _ => Mode::Again,
        };
        match self.claim(mode) {
            Ok(broker) => {
                self.link = Link::Up(Box::new(broker));
                Ok(())
            }
            Err(error) => {
                self.heed(&error);
                let serves = matches!(self.machine.stage(), Stage::Serving);
                if !serves && !is_passing(&error) {
                    let error = Arc::new(error);
                    self.machine.advance(Stage::Lost(error.clone()));
                    self.link = Link::Down(error);
                    return Ok(());
                }
                Err(error)
            }
        }
    }

    fn claim(&mut self, mode: Mode) -> Result<Broker, Error> {
        let mut broker = self.terms.connector.clone().connect()?;
        let (tag, time) = (self.terms.tag, self.terms.time);
        let instance = broker.instance()?;
        let claimed = match self.machine.stage() {
            Stage::Serving => self.claim_back(&mut broker, instance),
            // Until it is ready, nobody takes over what it has not deposited.
            _ => broker.claim_and_settle(tag, mode, time),
        }?;
        self.recognise(&mut broker, instance)?;
        let until = Instant::now() + self.terms.retry_for.max(GRACE);
        self.doubtful |= mode != Mode::Again;
        self.machine.claimed_again(claimed.state, until);
        Ok(broker)
    }

    /// Claims the tag that this process owned.
    ///
    /// A broker that was restarted as a whole does not know the owner. The fastest claimant becomes
    /// the owner: maybe a process that finds nothing there and is never ready. So the tag counts as
    /// taken over only if that process has settled, or its time is up, and it has left something
    /// there. The turn of the next claim tells that.
    fn claim_back(&self, broker: &mut Broker, instance: i64) -> Result<Claimed, Error> {
        let Terms { tag, time, .. } = self.terms;
        if instance == self.instance {
            return broker.claim(tag, Mode::Again, time);
        }
        // Nobody takes over what has still to be deposited again: see `recognise`.
        let again = broker.claim_and_settle(tag, Mode::Again, time);
        let Err(Error::TakenOver { attempt, text }) = again else { return again };
        let claimed = broker.claim_and_settle(tag, Mode::Live, time)?;
        match claimed.state {
            ClaimState::Owned => Ok(claimed),
            ClaimState::Granted if self.is_hollow(broker)? => {
                broker.ready(tag)?;
                Ok(claimed)
            }
            ClaimState::Granted => Err(Error::TakenOver { attempt, text }),
            // The claim ends with its connection; the next try makes another one.
            ClaimState::Waiting => Err(Error::Claimed { attempt, text }),
        }
    }

    /// Whether nothing lies there under any name.
    fn is_hollow(&self, broker: &mut Broker) -> Result<bool, Error> {
        let (found, _) = fetch(broker, self.terms.tag)?;
        Ok(Inventory::of(found).names().is_empty())
    }

    /// Looks what is left, if it is another broker.
    fn recognise(&mut self, broker: &mut Broker, instance: i64) -> Result<(), Error> {
        if instance == self.instance {
            return Ok(());
        }
        match self.machine.stage() {
            Stage::Serving => self.restore(broker)?,
            // It looks before it is ready.
            _ => self.doubtful = true,
        }
        self.instance = instance;
        Ok(())
    }

    /// Deposits again what the broker has forgotten, if it is a listening socket: the program need
    /// not know then. Lets others claim the tag.
    fn restore(&mut self, broker: &mut Broker) -> Result<(), Error> {
        let tag = self.terms.tag;
        let (found, _) = fetch(broker, tag)?;
        let gone = self.inventory.reconcile(found).len();
        match self.inventory.due().deposits.len() {
            again if again < gone => self.machine.forgotten(),
            0 => {}
            _ => self.machine.withdrawn(),
        }
        if deposit_all(broker, tag, &mut self.inventory)?.is_err() {
            self.machine.forgotten();
        }
        broker.ready(tag)
    }
}
