//! A broker as its clients see it: the requests of version 1, and what is done when it is
//! restarted.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fdbroker_wire::{Info, Message, Reply, Slot, Tag};

use crate::claims::Claims;
use crate::connection::Connection;
use crate::question::slot::{Add, Del, Get, HowMuch};
use crate::question::version2::Greet;
use crate::question::{Place, Question};
use crate::trouble::{Failure, Trouble, starting};
use crate::{Attempt, Connector, Deposit, Error, Feature, Operation};

/// A session with a broker. Requests block until they are answered.
///
/// **When the broker is restarted** under a session, the session reconnects, checks again whom
/// the broker runs as, and repeats the request that had no answer yet, for as long as
/// [`Connector::retry_for`] allows; a broker that says that it is starting or stopping
/// (EAGAIN) is asked again likewise. So each request is carried out *at least once*, which for
/// these requests has the outcome of once: a repeated `add` deposits the same again, and a
/// repeated `del` that finds nothing left counts as done. What somebody else did to the same
/// slot in between may be undone by the repetition. An answer that broke off in the middle is
/// not asked for again: that is [`Error::Broken`].
///
/// A tag that is marked serial in the policy belongs to the first session that touches it,
/// until that session is dropped; a request of another one waits that long.
pub struct Broker {
    connector: Connector,
    socket: Arc<Path>,
    /// The present one, or the one that was ended last.
    pub(crate) connection: Connection,
    pub(crate) claims: Claims,
}

impl Connector {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Broken`] when there is no broker, [`Error::Untrusted`] when it is not trusted,
    /// [`Error::Timeout`] when it accepts nobody.
    pub fn connect(self) -> Result<Broker, Error> {
        let socket = self.path();
        let attempt = Attempt { operation: Operation::Connect, socket: Arc::clone(&socket) };
        let connection = self.open(&attempt)?;
        Ok(Broker::new(self, socket, connection))
    }
}

impl Broker {
    /// Connects to the broker at [`crate::default_socket`].
    ///
    /// # Errors
    /// See [`Connector::connect`].
    pub fn connect() -> Result<Self, Error> {
        Connector::new().connect()
    }

    /// Connects to the broker at a socket.
    ///
    /// # Errors
    /// See [`Connector::connect`].
    pub fn connect_to(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Connector::new().socket(path).connect()
    }

    pub(crate) fn new(connector: Connector, socket: Arc<Path>, connection: Connection) -> Self {
        Self { connector, socket, connection, claims: Claims::default() }
    }

    /// Deposits a descriptor, or a payload, or both; what was in the slot is replaced at once.
    ///
    /// The descriptor stays open here; the broker has a duplicate, and with it the same offset
    /// and the same O_NONBLOCK. Its number here becomes the deposit's [`Deposit::ufd`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a payload beyond [`crate::MAX_PAYLOAD`] bytes; every other but
    /// [`Error::Absent`].
    pub fn add(
        &mut self,
        slot: Slot,
        descriptor: Option<BorrowedFd<'_>>,
        payload: &[u8],
    ) -> Result<(), Error> {
        let ufd = descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd());
        self.deposit(slot, descriptor, ufd, payload)
    }

    /// [`Broker::add`] of a descriptor under another number: what the next owner will find as
    /// [`Deposit::ufd`]. A number beyond 2³¹−1 is deposited as that.
    ///
    /// # Errors
    /// Those of [`Broker::add`].
    pub fn add_numbered(
        &mut self,
        slot: Slot,
        descriptor: BorrowedFd<'_>,
        number: u32,
        payload: &[u8],
    ) -> Result<(), Error> {
        let ufd = i32::try_from(number).unwrap_or(i32::MAX);
        self.deposit(slot, Some(descriptor), ufd, payload)
    }

    fn deposit(
        &mut self,
        slot: Slot,
        descriptor: Option<BorrowedFd<'_>>,
        ufd: i32,
        payload: &[u8],
    ) -> Result<(), Error> {
        self.run(Add::new(slot, descriptor, ufd, payload))
    }

    /// Gets what is in a slot; it stays there.
    ///
    /// # Errors
    /// [`Error::Absent`] when the slot is empty; every other but [`Error::TooLarge`].
    pub fn get(&mut self, slot: Slot) -> Result<Deposit, Error> {
        self.run(Get::new(slot))
    }

    /// Deletes what is in a slot.
    ///
    /// # Errors
    /// [`Error::Absent`] when the slot is empty; every other but [`Error::TooLarge`].
    pub fn del(&mut self, slot: Slot) -> Result<(), Error> {
        self.run(Del::new(slot))
    }

    /// Asks how much a tag holds: its largest used index plus one, and the sum of its payloads
    /// in bytes.
    ///
    /// # Errors
    /// All but [`Error::TooLarge`] and [`Error::Absent`].
    pub fn tag(&mut self, number: Tag) -> Result<Info, Error> {
        self.run(HowMuch::new(number))
    }

    /// The socket that this broker is connected at.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks until there is an outcome.
    pub(crate) fn run<Q: Question>(&mut self, mut question: Q) -> Result<Q::Outcome, Error> {
        if let Some(outcome) = question.known(&self.place(false))? {
            return Ok(outcome);
        }
        loop {
            let (answer, repeated) = self.ask(&question)?;
            match question.hear(answer, &self.place(repeated)) {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => return Err(self.after(error)),
            }
        }
    }

    /// Sends a message until it is answered, or patience ends. Says with the answer whether the
    /// message may have been carried out before.
    fn ask(&mut self, question: &impl Question) -> Result<(Message<OwnedFd>, bool), Error> {
        let mut patience = self.connector.patience();
        let mut repeated = false;
        loop {
            let lost = match self.ask_once(question) {
                Ok(Message::Reply(reply)) if starting(&reply) && patience.again() => continue,
                Ok(message) => return Ok((message, repeated)),
                Err(Trouble::Passing { error, sent }) if question.bond().repeats() || !sent => {
                    repeated |= sent;
                    error
                }
                Err(trouble) => return Err(trouble.into_error()),
            };
            if !patience.again() {
                return Err(lost);
            }
        }
    }

    fn ask_once(&mut self, question: &impl Question) -> Result<Message<OwnedFd>, Trouble> {
        let bond = question.bond();
        self.claims.check(bond).map_err(|lost| self.unclaimed(question.operation(), lost))?;
        if let Some(feature) = question.feature()
            && let Some(starting) = self.greet(&question.operation(), feature)?
        {
            return Ok(Message::Reply(starting));
        }
        let answer = self.exchange(question);
        self.claims.hear(bond, answer.as_ref().ok());
        answer
    }

    /// Says HEL on a connection on which it has not been said, and looks for a feature among
    /// what it was granted. Gives the answer of a broker that is starting or stopping, and is
    /// to be asked again.
    fn greet(&mut self, operation: &Operation, feature: Feature) -> Result<Option<Reply>, Trouble> {
        self.open(operation).map_err(Trouble::of_connecting)?;
        if self.connection.features().is_none() {
            let mut greeting = Greet::new(operation.clone());
            match self.exchange(&greeting).map_err(Trouble::harmless)? {
                Message::Reply(reply) if starting(&reply) => return Ok(Some(reply)),
                answer => {
                    let heard = greeting.hear(answer, &self.place(false));
                    heard.map_err(|error| Trouble::Lasting(self.after(error)))?;
                }
            }
        }
        let granted = self.connection.features().unwrap_or_default();
        match granted.contains(feature.flag()) {
            true => Ok(None),
            false => {
                let attempt = self.place(false).attempt(operation.clone());
                Err(Trouble::Lasting(Error::Unserved { attempt, feature }))
            }
        }
    }

    /// Sends a message once, on a connection that is made if there is none.
    fn exchange(&mut self, question: &impl Question) -> Result<Message<OwnedFd>, Trouble> {
        if self.connection.is_over() {
            self.open(&question.operation()).map_err(Trouble::of_connecting)?;
        }
        self.connection.exchange(question.request()).map_err(|failure| {
            if !matches!(failure, Failure::NoRoom) {
                self.end();
            }
            Trouble::of_exchange(self.place(false).attempt(question.operation()), failure)
        })
    }

    /// Connects, if there is no connection.
    fn open(&mut self, operation: &Operation) -> Result<(), Error> {
        if self.connection.is_over() {
            let attempt = self.place(false).attempt(operation.clone());
            self.connection = self.connector.open(&attempt)?;
        }
        Ok(())
    }

    /// Ends the connection, and what was claimed on it.
    pub(crate) fn end(&mut self) {
        self.connection.end();
        self.claims.end();
    }

    /// An answer that makes no sense leaves the connection out of step.
    fn after(&mut self, error: Error) -> Error {
        if let Error::Protocol { .. } = error {
            self.end();
        }
        error
    }

    pub(crate) fn place(&self, repeated: bool) -> Place<'_> {
        Place { socket: &self.socket, repeated }
    }
}

/// Shows where it is connected, and nothing of what went over the connection.
impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Broker");
        shown.field("socket", &self.socket).field("connected", &!self.connection.is_over());
        shown.finish_non_exhaustive()
    }
}

/// Readable when there may be an event (see [`Broker::pending_event`]), or the connection was
/// lost. Another descriptor, after each reconnection.
impl AsFd for Broker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
