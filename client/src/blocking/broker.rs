//! A session that blocks: how a request is sent, and repeated if the broker is restarted.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fdbroker_wire::{Message, Reply};

use super::connection::Connection;
use crate::core::claims::Claims;
use crate::core::retry_class::{Failure, RetryClass, starting};
use crate::request::version2::Greet;
use crate::request::{AnswerContext, Request};
use crate::{Attempt, Connector, Error, Feature, Operation};

/// A session with a broker. Requests block until they are answered.
///
/// **If the broker restarts** under a session, the session reconnects and checks again whom the
/// broker runs as. It repeats the request that had no answer yet, for as long as
/// [`Connector::retry_for`] allows. A broker that says that it is starting or stopping (EAGAIN) is
/// asked again likewise. So each request is carried out *at least once*, which for these requests
/// has the outcome of once. A repeated `add` deposits the same again, and a repeated `del` that
/// finds nothing left counts as done. The repetition may undo what another process did to the same
/// slot in between. A request whose answer broke off in the middle is not repeated: that is
/// [`Error::Broken`].
///
/// A tag that is marked serial in the policy belongs to the first session that touches it, until
/// that session is dropped; a request of another one waits that long.
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
        let connection = open(&self, &attempt)?;
        Ok(Broker::new(self, socket, connection))
    }
}

/// Returns a connection to a broker that is trusted.
fn open(connector: &Connector, attempt: &Attempt) -> Result<Connection, Error> {
    let opened = connector.open_socket(&attempt.socket);
    opened
        .map(|socket| Connection::new(socket, connector.answer_timeout()))
        .map_err(|unopened| unopened.into_error(attempt.clone()))
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

    /// The socket that this broker is connected at.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks until there is an outcome.
    pub(crate) fn run<R: Request>(&mut self, mut request: R) -> Result<R::Outcome, Error> {
        if let Some(outcome) = request.known(&self.context(false))? {
            return Ok(outcome);
        }
        loop {
            let (answer, repeated) = self.ask(&request)?;
            match request.take_answer(answer, &self.context(repeated)) {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => return Err(self.after(error)),
            }
        }
    }

    /// Sends a message until it is answered, or the time to retry is over. Says with the answer whether the
    /// message may have been carried out before.
    fn ask(&mut self, request: &impl Request) -> Result<(Message<OwnedFd>, bool), Error> {
        let mut backoff = self.connector.backoff();
        let mut repeated = false;
        loop {
            let lost = match self.ask_once(request) {
                Ok(Message::Reply(reply)) if starting(&reply) && backoff.again() => continue,
                Ok(message) => return Ok((message, repeated)),
                Err(RetryClass::Transient { error, sent })
                    if request.claim_effect().repeats() || !sent =>
                {
                    repeated |= sent;
                    error
                }
                Err(class) => return Err(class.into_error()),
            };
            if !backoff.again() {
                return Err(lost);
            }
        }
    }

    fn ask_once(&mut self, request: &impl Request) -> Result<Message<OwnedFd>, RetryClass> {
        let claim_effect = request.claim_effect();
        self.claims
            .check(claim_effect)
            .map_err(|lost| self.unclaimed(request.operation(), lost))?;
        if let Some(feature) = request.feature()
            && let Some(starting) = self.greet(&request.operation(), feature)?
        {
            return Ok(Message::Reply(starting));
        }
        let answer = self.exchange(request);
        self.claims.hear(claim_effect, answer.as_ref().ok());
        answer
    }

    /// Says HEL on a connection on which it has not been said, and checks that a feature was
    /// granted. Returns the answer of a broker that is starting or stopping, and is to be asked
    /// again.
    fn greet(
        &mut self,
        operation: &Operation,
        feature: Feature,
    ) -> Result<Option<Reply>, RetryClass> {
        self.open(operation).map_err(RetryClass::of_connecting)?;
        if self.connection.features().is_none() {
            let mut greeting = Greet::new(operation.clone());
            match self.exchange(&greeting).map_err(RetryClass::harmless)? {
                Message::Reply(reply) if starting(&reply) => return Ok(Some(reply)),
                answer => {
                    let heard = greeting.take_answer(answer, &self.context(false));
                    heard.map_err(|error| RetryClass::Permanent(self.after(error)))?;
                }
            }
        }
        let granted = self.connection.features().unwrap_or_default();
        match granted.contains(feature.flag()) {
            true => Ok(None),
            false => {
                let attempt = self.context(false).attempt(operation.clone());
                Err(RetryClass::Permanent(Error::Unserved { attempt, feature }))
            }
        }
    }

    /// Sends a message once, on a connection that is made if there is none.
    fn exchange(&mut self, request: &impl Request) -> Result<Message<OwnedFd>, RetryClass> {
        if self.connection.is_over() {
            self.open(&request.operation()).map_err(RetryClass::of_connecting)?;
        }
        self.connection.exchange(&request.message()).map_err(|failure| {
            if !matches!(failure, Failure::NoRoom) {
                self.end();
            }
            RetryClass::of_exchange(self.context(false).attempt(request.operation()), failure)
        })
    }

    /// Connects, if there is no connection.
    fn open(&mut self, operation: &Operation) -> Result<(), Error> {
        if self.connection.is_over() {
            let attempt = self.context(false).attempt(operation.clone());
            self.connection = open(&self.connector, &attempt)?;
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

    pub(crate) fn context(&self, repeated: bool) -> AnswerContext<'_> {
        AnswerContext { socket: &self.socket, repeated }
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
