//! The client for those who have an event loop of their own: it never waits, and has a descriptor
//! to wait for.

mod methods;
mod outcome;
mod pending;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fdbroker_wire::Message;
use fdbroker_wire::claim::Event;

use crate::core::claims::Claims;
use crate::core::retry_class::{Failure, RetryClass};
use crate::request::{AnswerContext, Detach};
use crate::transport::channel::{Abandoned, Channel, OwnedRequest, Response, Waiter};
use crate::transport::socket::Socket;
use crate::unreceived::unreceived;
use crate::{Connector, Error, Operation};
pub use outcome::Outcome;
use pending::Pending;

/// A session with a broker that never waits.
///
/// A request returns a [`Ticket`] at once. [`Polled::process`] sends and receives as much as it can;
/// then [`Polled::answer`] returns the answers. Call `process` when the descriptor ([`AsFd`]) is
/// readable, or writable while [`Polled::wants_write`], and after [`Polled::deadline`] if there is
/// one. Requests are under way at once, and answered in order.
///
/// An answer is kept until it is taken, or its ticket is forgotten.
///
/// **Nothing is repeated.** If the connection is lost, `process` fails once, each request without
/// an answer gets that failure as its answer, and claims are lost. [`Polled::reconnect`] connects
/// again, with another descriptor.
///
/// ```no_run
/// use std::os::fd::AsFd;
///
/// use fdbroker::{Connector, Outcome};
/// use rustix::event::{PollFd, PollFlags, poll};
///
/// let mut broker = Connector::new().connect_polled()?;
/// let ticket = broker.get("10/0".parse()?);
/// let deposit = loop {
///     broker.process()?;
///     match broker.answer(ticket).transpose()? {
///         Some(Outcome::Deposit(deposit)) => break deposit,
///         Some(other) => unreachable!("no answer to a get: {other:?}"),
///         None => {}
///     }
///     let flags = if broker.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
///     poll(&mut [PollFd::from_borrowed_fd(broker.as_fd(), flags)], None)?;
/// };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Polled {
    connector: Connector,
    path: Arc<Path>,
    socket: Socket,
    channel: Channel<Ticket>,
    claims: Claims,
    next: u64,
    pending: BTreeMap<Ticket, Box<dyn Pending + Send + Sync>>,
    answered: BTreeMap<Ticket, Result<Outcome, Error>>,
    over: bool,
}

/// Which request an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

impl Connector {
    /// Connects a session that never waits afterwards. This waits as [`Connector::connect`] does,
    /// where a broker accepts slowly.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub fn connect_polled(self) -> Result<Polled, Error> {
        let path = self.path();
        let context = AnswerContext { socket: &path, repeated: false };
        let socket = self
            .open_socket(&path)
            .map_err(|unopened| unopened.into_error(context.attempt(Operation::Connect)))?;
        Ok(Polled {
            channel: Channel::new(self.answer_timeout()),
            connector: self,
            path,
            socket,
            claims: Claims::default(),
            next: 0,
            pending: BTreeMap::new(),
            answered: BTreeMap::new(),
            over: false,
        })
    }
}

impl Polled {
    /// Sends and receives as much as it can without waiting.
    ///
    /// # Errors
    /// [`Error::Broken`] if the connection is lost, [`Error::Protocol`] if the broker sent
    /// nonsense, [`Error::Timeout`] if the oldest answer is late. There is no connection then.
    pub fn process(&mut self) -> Result<(), Error> {
        if self.over {
            return Err(self.disconnected(Operation::Process));
        }
        let transferred = self.transfer();
        self.take_answers().and(transferred).map_err(|failure| self.end(failure))
    }

    /// Returns the answer to a request, once. `None` while there is no answer, and for a ticket
    /// that was answered before or forgotten.
    pub fn answer(&mut self, ticket: Ticket) -> Option<Result<Outcome, Error>> {
        self.answered.remove(&ticket)
    }

    /// The answer is not wanted any more: what it brings is closed. What has not begun to be sent
    /// is not sent.
    pub fn forget(&mut self, ticket: Ticket) {
        self.channel.give_up(&ticket);
        self.pending.remove(&ticket);
        self.answered.remove(&ticket);
    }

    /// The next event of a tag that was claimed here, if one has come.
    pub fn next_event(&mut self) -> Option<Event> {
        self.channel.event()
    }

    /// Whether there is something to send, which the socket may take when it is writable.
    pub fn wants_write(&self) -> bool {
        self.channel.wants_write()
    }

    /// When the oldest answer will be late, if [`Connector::timeout`] is set.
    pub fn deadline(&self) -> Option<Instant> {
        self.channel.deadline()
    }

    /// The socket that this broker is connected at.
    pub fn socket(&self) -> &Path {
        &self.path
    }

    /// Connects again. Requests without an answer have failed then.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub fn reconnect(&mut self) -> Result<(), Error> {
        let opened = self.connector.open_socket(&self.path);
        let socket = opened
            .map_err(|unopened| unopened.into_error(self.context().attempt(Operation::Connect)))?;
        if !self.over {
            self.end(Failure::along());
        }
        self.socket = socket;
        self.channel = Channel::new(self.connector.answer_timeout());
        self.over = false;
        Ok(())
    }

    /// What fails before it is sent is answered at once.
    fn ask<R: Detach>(&mut self, request: R) -> Ticket
    where
        Outcome: From<R::Outcome>,
    {
        let ticket = Ticket(self.next);
        self.next += 1;
        match self.prepare(request) {
            Ok((message, pending)) => {
                self.channel.ask(message, ticket);
                self.pending.insert(ticket, Box::new(pending));
            }
            Err(known) => drop(self.answered.insert(ticket, known)),
        }
        ticket
    }

    /// # Errors
    /// What is known without sending anything.
    fn prepare<R: Detach>(
        &mut self,
        request: R,
    ) -> Result<(OwnedRequest, R::Detached), Result<Outcome, Error>>
    where
        Outcome: From<R::Outcome>,
    {
        match request.known(&self.context()) {
            Ok(None) => {}
            Ok(Some(outcome)) => return Err(Ok(outcome.into())),
            Err(error) => return Err(Err(error)),
        }
        let operation = request.operation();
        if self.over {
            return Err(Err(self.disconnected(operation)));
        }
        if let Err(unclaimed) = self.claims.check(request.claim_effect()) {
            let attempt = self.context().attempt(operation);
            return Err(Err(Error::Broken { attempt, source: unclaimed.into() }));
        }
        let message = OwnedRequest::of(&request.message(), request.feature());
        let both = message.and_then(|message| Ok((message, request.detach()?)));
        both.map_err(|_no_room| Err(Error::NoRoom { attempt: self.context().attempt(operation) }))
    }

    fn transfer(&mut self) -> Result<(), Failure> {
        self.socket.check().map_err(Failure::Cut)?;
        self.channel.write(&self.socket)?;
        while self.channel.read(&self.socket)? {
            // An answer may make room for the next request.
            self.channel.write(&self.socket)?;
        }
        self.channel.check_time()
    }

    fn take_answers(&mut self) -> Result<(), Failure> {
        while let Some((ticket, response)) = self.channel.answered() {
            let Some(pending) = self.pending.remove(&ticket) else { continue };
            let attempt = || self.context().attempt(pending.operation());
            let answer = match response {
                Response::Message(message) => self.take_answer(ticket, pending, message),
                Response::NoRoom => Some(Err(unreceived(attempt()))),
                Response::Version1 => Some(Err(Error::Version1 { attempt: attempt() })),
                Response::Unserved(feature) => {
                    Some(Err(Error::Unserved { attempt: attempt(), feature }))
                }
            };
            let nonsense = match &answer {
                Some(Err(Error::Protocol { reason, .. })) => Some(Failure::Nonsense(reason)),
                _ => None,
            };
            self.answered.extend(answer.map(|answer| (ticket, answer)));
            nonsense.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Returns `None` if there is more to ask, which then is asked.
    fn take_answer(
        &mut self,
        ticket: Ticket,
        mut pending: Box<dyn Pending + Send + Sync>,
        message: Message<OwnedFd>,
    ) -> Option<Result<Outcome, Error>> {
        self.claims.hear(pending.claim_effect(), Some(&message));
        if let Some(outcome) = pending.take_answer(message, &self.context()).transpose() {
            return Some(outcome);
        }
        match pending.message() {
            Ok(message) => {
                self.channel.ask(message, ticket);
                self.pending.insert(ticket, pending);
                None
            }
            Err(_no_room) => {
                Some(Err(Error::NoRoom { attempt: self.context().attempt(pending.operation()) }))
            }
        }
    }

    /// Ends the connection. Every request that was not answered gets that failure as its answer.
    fn end(&mut self, failure: Failure) -> Error {
        self.over = true;
        self.socket.end();
        self.claims = Claims::default();
        for Abandoned { waiter, lost } in self.channel.abandon(failure.again()) {
            if let Some(pending) = self.pending.remove(&waiter) {
                let attempt = self.context().attempt(pending.operation());
                let error = lost.retry_class(attempt).into_error();
                self.answered.insert(waiter, Err(error));
            }
        }
        RetryClass::of_exchange(self.context().attempt(Operation::Process), failure).into_error()
    }

    fn disconnected(&self, operation: Operation) -> Error {
        let source = io::ErrorKind::NotConnected.into();
        Error::Broken { attempt: self.context().attempt(operation), source }
    }

    fn context(&self) -> AnswerContext<'_> {
        AnswerContext { socket: &self.path, repeated: false }
    }
}

/// Shows where it is connected and how much is under way, and nothing of it.
impl fmt::Debug for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Polled");
        shown.field("socket", &self.path).field("connected", &!self.over);
        shown.field("pending", &self.pending.len()).field("answered", &self.answered.len());
        shown.finish_non_exhaustive()
    }
}

/// Readable when there is something to receive, or the connection was lost. Another descriptor
/// after a reconnection.
impl AsFd for Polled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Waiter for Ticket {
    /// A caller that loses interest forgets its ticket.
    fn is_gone(&self) -> bool {
        false
    }
}
