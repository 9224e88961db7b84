//! A broker as its clients see it: the requests of version 1, and what is done when it is
//! restarted.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fdbroker_wire::{Errno, Info, MAX_PAYLOAD, Message, Reply, Slot, Tag, add_head, del, get, tag};

use crate::claim::Claims;
use crate::connection::{Connection, Failure};
use crate::transfer::Request;
use crate::{Attempt, Connector, Error, Feature, Operation};

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
#[derive(Debug)]
pub struct Broker {
    connector: Connector,
    socket: Arc<Path>,
    /// The present one, or the one that was ended last.
    pub(crate) connection: Connection,
    pub(crate) claims: Claims,
}

/// What a slot holds.
#[derive(Debug)]
pub struct Deposit {
    /// The descriptor, close-on-exec, if the deposit has one.
    pub descriptor: Option<OwnedFd>,
    /// The number that the descriptor had where it was deposited; −1 for a deposit without one.
    pub ufd: i32,
    /// The bytes, at most [`MAX_PAYLOAD`].
    pub payload: Vec<u8>,
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
    /// [`Error::TooLarge`] for a payload beyond [`MAX_PAYLOAD`] bytes; every other but
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
        let operation = Operation::Add(slot);
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::TooLarge { attempt: self.attempt(&operation), size: payload.len() });
        }
        let head = add_head(slot, ufd, payload.len());
        let request = Request { head: &head, payload, descriptors: descriptor.as_slice() };
        match self.ask(&operation, request, Version::One)?.message {
            Message::Reply(reply) => self.done(&operation, reply),
            _ => Err(self.nonsense(&operation)),
        }
    }

    /// Gets what is in a slot; it stays there.
    ///
    /// # Errors
    /// [`Error::Absent`] when the slot is empty; every other but [`Error::TooLarge`].
    pub fn get(&mut self, slot: Slot) -> Result<Deposit, Error> {
        let operation = Operation::Get(slot);
        match self.ask(&operation, Request::plain(&get(slot)), Version::One)?.message {
            Message::Add(add) if add.slot == slot => {
                Ok(Deposit { descriptor: add.descriptor, ufd: add.ufd, payload: add.payload })
            }
            Message::Reply(reply) => Err(self.failed(&operation, reply)),
            _ => Err(self.nonsense(&operation)),
        }
    }

    /// Deletes what is in a slot.
    ///
    /// # Errors
    /// [`Error::Absent`] when the slot is empty; every other but [`Error::TooLarge`].
    pub fn del(&mut self, slot: Slot) -> Result<(), Error> {
        let operation = Operation::Del(slot);
        let answer = self.ask(&operation, Request::plain(&del(slot)), Version::One)?;
        match answer.message {
            // The request before this one was carried out, and its answer lost.
            Message::Reply(reply) if answer.repeated && reply.error() == Some(Errno::NOENT) => {
                Ok(())
            }
            Message::Reply(reply) => self.done(&operation, reply),
            _ => Err(self.nonsense(&operation)),
        }
    }

    /// Asks how much a tag holds: its largest used index plus one, and the sum of its payloads
    /// in bytes.
    ///
    /// # Errors
    /// All but [`Error::TooLarge`] and [`Error::Absent`].
    pub fn tag(&mut self, number: Tag) -> Result<Info, Error> {
        let operation = Operation::Tag(number);
        match self.ask(&operation, Request::plain(&tag(number)), Version::One)?.message {
            Message::Info(info) if info.used >= 0 && info.total >= 0 => Ok(info),
            Message::Reply(reply) => Err(self.failed(&operation, reply)),
            _ => Err(self.nonsense(&operation)),
        }
    }

    /// The socket that this broker is connected at.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request until it is answered, or patience ends.
    pub(crate) fn ask(
        &mut self,
        operation: &Operation,
        request: Request<'_>,
        version: Version,
    ) -> Result<Answer, Error> {
        let mut patience = self.connector.patience();
        let mut repeated = false;
        loop {
            let lost = match self.ask_once(operation, request, version) {
                Ok(Message::Reply(reply)) if starting(&reply) && patience.again() => continue,
                Ok(message) => return Ok(Answer { message, repeated }),
                Err(Trouble::Passing { error, sent }) if version.repeats() || !sent => {
                    repeated |= sent;
                    error
                }
                Err(Trouble::Passing { error, .. } | Trouble::Lasting(error)) => return Err(error),
            };
            if !patience.again() {
                return Err(lost);
            }
        }
    }

    fn ask_once(
        &mut self,
        operation: &Operation,
        request: Request<'_>,
        version: Version,
    ) -> Result<Message<OwnedFd>, Trouble> {
        if let Some(feature) = version.feature()
            && let Some(starting) = self.greet(operation, feature)?
        {
            return Ok(Message::Reply(starting));
        }
        self.exchange(operation, request)
    }

    /// Sends a request once, on a connection that is made if there is none.
    pub(crate) fn exchange(
        &mut self,
        operation: &Operation,
        request: Request<'_>,
    ) -> Result<Message<OwnedFd>, Trouble> {
        self.open(operation).map_err(Trouble::of_connecting)?;
        self.connection.exchange(request).map_err(|failure| {
            if !matches!(failure, Failure::NoRoom) {
                self.end();
            }
            Trouble::of_exchange(self.attempt(operation), failure)
        })
    }

    /// Connects, if there is no connection.
    pub(crate) fn open(&mut self, operation: &Operation) -> Result<(), Error> {
        if self.connection.is_over() {
            self.connection = self.connector.open(&self.attempt(operation))?;
        }
        Ok(())
    }

    /// Ends the connection, and what was claimed on it.
    pub(crate) fn end(&mut self) {
        self.connection.end();
        self.claims.end();
    }

    pub(crate) fn done(&mut self, operation: &Operation, reply: Reply) -> Result<(), Error> {
        match reply.rc {
            0 => Ok(()),
            _ => Err(self.failed(operation, reply)),
        }
    }

    pub(crate) fn failed(&mut self, operation: &Operation, reply: Reply) -> Error {
        match reply.error() {
            Some(errno) => Error::answered(self.attempt(operation), errno, reply.text),
            None => self.nonsense(operation),
        }
    }

    /// An answer of the wrong kind; the connection is out of step, and goes.
    pub(crate) fn nonsense(&mut self, operation: &Operation) -> Error {
        self.protocol(operation, "the answer does not belong to the question")
    }

    pub(crate) fn protocol(&mut self, operation: &Operation, reason: &'static str) -> Error {
        self.end();
        Error::Protocol { attempt: self.attempt(operation), reason }
    }

    pub(crate) fn attempt(&self, operation: &Operation) -> Attempt {
        Attempt { operation: operation.clone(), socket: self.socket.clone() }
    }
}

/// Readable when there may be an event (see [`Broker::pending_event`]), or the connection was
/// lost. Another descriptor, after each reconnection.
impl AsFd for Broker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

/// An answer, and whether the question may have been carried out before.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) message: Message<OwnedFd>,
    repeated: bool,
}

/// Which version of the protocol a request is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    /// The first, which every broker serves.
    One,
    /// The second, which takes a HEL before it, and this of what HEL grants.
    Two(Feature),
}

impl Version {
    fn feature(self) -> Option<Feature> {
        match self {
            Self::One => None,
            Self::Two(feature) => Some(feature),
        }
    }

    /// Whether a request counts on another connection, too: claims end with theirs.
    fn repeats(self) -> bool {
        !matches!(self, Self::Two(Feature::Claim))
    }
}

/// What kept a request from being answered.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The broker may be restarting. `sent`: the request may have been carried out.
    Passing { error: Error, sent: bool },
    /// Trying again would not help.
    Lasting(Error),
}

impl Trouble {
    pub(crate) fn of_connecting(error: Error) -> Self {
        match &error {
            Error::Broken { source, .. } if absent(source) => Self::Passing { error, sent: false },
            _ => Self::Lasting(error),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Passing { error, .. } | Self::Lasting(error) => error,
        }
    }

    /// The same of a request that changes nothing.
    pub(crate) fn harmless(self) -> Self {
        match self {
            Self::Passing { error, .. } => Self::Passing { error, sent: false },
            lasting @ Self::Lasting(_) => lasting,
        }
    }

    pub(crate) fn of_exchange(attempt: Attempt, failure: Failure) -> Self {
        match failure {
            Failure::Lost(source) => {
                Self::Passing { error: Error::Broken { attempt, source }, sent: true }
            }
            Failure::Cut(source) => Self::Lasting(Error::Broken { attempt, source }),
            Failure::Timeout(after) => Self::Lasting(Error::Timeout { attempt, after }),
            Failure::Nonsense(reason) => Self::Lasting(Error::Protocol { attempt, reason }),
            Failure::NoRoom => Self::Lasting(Error::NoRoom { attempt }),
        }
    }
}

/// Whether connecting failed as it does while a broker is being restarted.
fn absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotFound)
}

pub(crate) fn starting(reply: &Reply) -> bool {
    reply.error() == Some(Errno::AGAIN)
}
