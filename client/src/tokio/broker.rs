//! A session, shared by its clones.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::{sleep, timeout};
use fdbroker_wire::Message;
use fdbroker_wire::claim::Event;

use super::driver::{Asker, Completion, ConnectionId, Driver, Order};
use super::shared::Shared;
use crate::core::retry_class::{RetryClass, starting};
use crate::request::{AnswerContext, Request};
use crate::transport::channel::{OwnedRequest, Response};
use crate::unreceived::unreceived;
use crate::{Connector, Error, Operation};

/// How many requests may wait for the driver.
const MOST_ORDERED: usize = 64;

/// A session with a broker, as [`crate::Broker`] is one, whose requests are futures. Its clones
/// share it.
///
/// Requests that are made at once are under way at once, on one connection, and are answered in
/// the order in which they were made. So a request that waits for its turn on a serial tag holds
/// up those that are made behind it: a second session does not wait.
///
/// **Every future may be dropped** at any point, and the session stays in step. A request that
/// has not begun to be sent is not sent then; any other one is carried out, or not. Its answer is
/// dropped when it comes, and with it the descriptors that it brings: what a dropped
/// [`Broker::take_many`] took is lost. A claim that was dropped may have been made;
/// [`Broker::withdraw`] ends it.
///
/// A task owns the connection, and ends when the last clone is dropped. What is under way then may
/// be carried out, or not. When the broker is restarted, requests are repeated as those of
/// [`crate::Broker`] are; a request whose future was dropped is not.
///
/// With [`Connector::timeout`], the time of each answer begins when those before it are there. A
/// request that timed out ends the connection. The others on it are repeated, and what was claimed
/// on it is lost.
#[derive(Clone)]
pub struct Broker {
    connector: Connector,
    path: Arc<Path>,
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

impl Connector {
    /// Connects without blocking. The session belongs to the runtime that it was made on.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime that has I/O and time enabled.
    pub async fn connect_async(self) -> Result<Broker, Error> {
        let path = self.path();
        let (orders, ordered) = mpsc::channel(MOST_ORDERED);
        let shared = Arc::<Shared>::default();
        let broker = Broker { connector: self.clone(), path, orders, shared };
        let shared = Arc::clone(&broker.shared);
        let mut driver = Driver::new(self, Arc::clone(&broker.path), ordered, shared);
        let first = driver.open_first().await.map_err(|unopened| {
            unopened.into_error(broker.context(false).attempt(Operation::Connect))
        })?;
        ::tokio::spawn(driver.run(first));
        Ok(broker)
    }
}

/// Shows where it is connected, and nothing of what went over the connection.
impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Broker");
        shown.field("socket", &self.path).field("connected", &!self.orders.is_closed());
        shown.finish_non_exhaustive()
    }
}

impl Broker {
    /// Connects to the broker at [`crate::default_socket`].
    ///
    /// # Errors
    /// As [`Connector::connect`].
    ///
    /// # Panics
    /// As [`Connector::connect_async`].
    pub async fn connect() -> Result<Self, Error> {
        Connector::new().connect_async().await
    }

    /// Connects to the broker at a socket.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    ///
    /// # Panics
    /// As [`Connector::connect_async`].
    pub async fn connect_to(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Connector::new().socket(path).connect_async().await
    }

    /// As [`crate::Broker::event`]. Each event goes to one of those who wait; a future that was
    /// dropped has taken none.
    ///
    /// # Errors
    /// As [`crate::Broker::event`].
    pub async fn event(&self, patience: Option<Duration>) -> Result<Option<Event>, Error> {
        let event = match patience {
            None => self.shared.wait().await.map(Some),
            Some(patience) => match timeout(patience, self.shared.wait()).await {
                Ok(event) => event.map(Some),
                Err(_elapsed) => Ok(None),
            },
        };
        event.map_err(|unclaimed| self.unclaimed(Operation::Event, unclaimed.into()))
    }

    /// As [`crate::Broker::pending_event`].
    ///
    /// # Errors
    /// As [`crate::Broker::pending_event`].
    pub fn pending_event(&self) -> Result<Option<Event>, Error> {
        let event = self.shared.take();
        event.map_err(|unclaimed| self.unclaimed(Operation::Event, unclaimed.into()))
    }

    /// The socket that this broker is connected at.
    pub fn socket(&self) -> &Path {
        &self.path
    }

    /// Asks until there is an outcome.
    pub(super) async fn run<R: Request>(&self, mut request: R) -> Result<R::Outcome, Error> {
        if let Some(outcome) = request.known(&self.context(false))? {
            return Ok(outcome);
        }
        loop {
            let (answer, connection, repeated) = self.ask(&request).await?;
            match request.take_answer(answer, &self.context(repeated)) {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => return Err(self.after(error, connection).await),
            }
        }
    }

    /// Sends a message until it is answered, or the time to retry is over. Says with the answer on which
    /// connection it came, and whether the message may have been carried out before.
    async fn ask(
        &self,
        request: &impl Request,
    ) -> Result<(Message<OwnedFd>, ConnectionId, bool), Error> {
        let mut backoff = self.connector.backoff();
        let mut repeated = false;
        loop {
            let failed = match self.ask_once(request).await {
                Ok((Message::Reply(reply), connection)) if starting(&reply) => {
                    Ok((Message::Reply(reply), connection, repeated))
                }
                Ok((answer, connection)) => return Ok((answer, connection, repeated)),
                Err(RetryClass::Transient { error, sent })
                    if request.claim_effect().repeats() || !sent =>
                {
                    repeated |= sent;
                    Err(error)
                }
                Err(class) => return Err(class.into_error()),
            };
            match backoff.pause() {
                Some(pause) => sleep(pause).await,
                None => return failed,
            }
        }
    }

    async fn ask_once(
        &self,
        request: &impl Request,
    ) -> Result<(Message<OwnedFd>, ConnectionId), RetryClass> {
        let message = OwnedRequest::of(&request.message(), request.feature()).map_err(|_| {
            RetryClass::Permanent(Error::NoRoom {
                attempt: self.context(false).attempt(request.operation()),
            })
        })?;
        let (tell, told) = oneshot::channel();
        let order = Order::Ask(message, Asker { claim_effect: request.claim_effect(), tell });
        let sent = self.orders.send(order).await;
        let completion = match sent {
            Ok(()) => told.await.ok(),
            Err(_) => None,
        };
        self.completed(request.operation(), completion)
    }

    /// Without a completion, there is no driver any more.
    fn completed(
        &self,
        operation: Operation,
        completion: Option<Completion>,
    ) -> Result<(Message<OwnedFd>, ConnectionId), RetryClass> {
        let attempt = self.context(false).attempt(operation);
        Err(match completion {
            Some(Completion::Response(Response::Message(message), connection)) => {
                return Ok((message, connection));
            }
            Some(Completion::Response(Response::NoRoom, _)) => {
                RetryClass::Permanent(unreceived(attempt))
            }
            Some(Completion::Response(Response::Version1, _)) => {
                RetryClass::Permanent(Error::Version1 { attempt })
            }
            Some(Completion::Response(Response::Unserved(feature), _)) => {
                RetryClass::Permanent(Error::Unserved { attempt, feature })
            }
            Some(Completion::Lost(lost)) => lost.retry_class(attempt),
            Some(Completion::Unopened(unopened)) => {
                RetryClass::of_connecting(unopened.into_error(attempt))
            }
            Some(Completion::Unclaimed(unclaimed)) => {
                RetryClass::Permanent(Error::Broken { attempt, source: unclaimed.into() })
            }
            None => {
                let source = io::Error::new(io::ErrorKind::NotConnected, DRIVERLESS);
                RetryClass::Permanent(Error::Broken { attempt, source })
            }
        })
    }

    /// An answer that makes no sense leaves its connection out of step.
    async fn after(&self, error: Error, connection: ConnectionId) -> Error {
        if let Error::Protocol { .. } = error {
            // Without a driver there is no connection, either.
            drop(self.orders.send(Order::End(connection)).await);
        }
        error
    }

    fn unclaimed(&self, operation: Operation, source: io::Error) -> Error {
        Error::Broken { attempt: self.context(false).attempt(operation), source }
    }

    fn context(&self, repeated: bool) -> AnswerContext<'_> {
        AnswerContext { socket: &self.path, repeated }
    }
}

const DRIVERLESS: &str = "the runtime that the session was made on has ended";
