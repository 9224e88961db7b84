//! A session, shared by its clones.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::{sleep, timeout};
use fdbroker_wire::claim::{Claimed, Event, Mode};
use fdbroker_wire::version2::{Entry as Listed, Found};
use fdbroker_wire::{Index, Info, Message, Slot, Tag};

use super::driver::{Asker, Connection, Driver, Fate, Order};
use super::shared::Shared;
use crate::channel::{Parcel, Response};
use crate::question::claim::{Claim, OfClaimed};
use crate::question::many::{AddMany, DelMany, GetMany};
use crate::question::slot::{Add, Del, Get, HowMuch};
use crate::question::version2::{Find, Greet, List, Operate};
use crate::question::{Place, Question};
use crate::room::unreceived;
use crate::trouble::{Trouble, starting};
use crate::{Connector, Deposit, Error, ManyDeposits, NewDeposit, Operation};

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
            unopened.into_error(broker.place(false).attempt(Operation::Connect))
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

    /// As [`crate::Broker::add`]. The descriptor is duplicated until the request has been sent.
    ///
    /// # Errors
    /// As [`crate::Broker::add`]; [`Error::NoRoom`] when there is none for the duplicate.
    pub async fn add(
        &self,
        slot: Slot,
        descriptor: Option<BorrowedFd<'_>>,
        payload: &[u8],
    ) -> Result<(), Error> {
        let ufd = descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd());
        self.run(Add::new(slot, descriptor, ufd, payload)).await
    }

    /// As [`crate::Broker::add_numbered`].
    ///
    /// # Errors
    /// As [`Broker::add`].
    pub async fn add_numbered(
        &self,
        slot: Slot,
        descriptor: BorrowedFd<'_>,
        number: u32,
        payload: &[u8],
    ) -> Result<(), Error> {
        let ufd = i32::try_from(number).unwrap_or(i32::MAX);
        self.run(Add::new(slot, Some(descriptor), ufd, payload)).await
    }

    /// As [`crate::Broker::get`].
    ///
    /// # Errors
    /// As [`crate::Broker::get`].
    pub async fn get(&self, slot: Slot) -> Result<Deposit, Error> {
        self.run(Get::new(slot)).await
    }

    /// As [`crate::Broker::del`].
    ///
    /// # Errors
    /// As [`crate::Broker::del`].
    pub async fn del(&self, slot: Slot) -> Result<(), Error> {
        self.run(Del::new(slot)).await
    }

    /// As [`crate::Broker::tag`].
    ///
    /// # Errors
    /// As [`crate::Broker::tag`].
    pub async fn tag(&self, number: Tag) -> Result<Info, Error> {
        self.run(HowMuch::new(number)).await
    }

    /// As [`crate::Broker::get_many`].
    ///
    /// # Errors
    /// As [`crate::Broker::get_many`].
    pub async fn get_many(&self, tag: Tag, indices: &[Index]) -> Result<ManyDeposits, Error> {
        self.run(GetMany::new(tag, indices, false)).await
    }

    /// As [`crate::Broker::take_many`]. What a dropped future took is lost.
    ///
    /// # Errors
    /// As [`crate::Broker::take_many`].
    pub async fn take_many(&self, tag: Tag, indices: &[Index]) -> Result<ManyDeposits, Error> {
        self.run(GetMany::new(tag, indices, true)).await
    }

    /// As [`crate::Broker::add_many`].
    ///
    /// # Errors
    /// As [`crate::Broker::add_many`]; [`Error::NoRoom`] when there is none for the duplicates.
    pub async fn add_many(
        &self,
        tag: Tag,
        deposits: &[NewDeposit<'_>],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.run(AddMany::new(tag, deposits)).await
    }

    /// As [`crate::Broker::del_many`].
    ///
    /// # Errors
    /// As [`crate::Broker::del_many`].
    pub async fn del_many(
        &self,
        tag: Tag,
        indices: &[Index],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.run(DelMany::new(tag, indices)).await
    }

    /// As [`crate::Broker::find`].
    ///
    /// # Errors
    /// As [`crate::Broker::find`].
    pub async fn find(&self, name: &str) -> Result<Found, Error> {
        self.run(Find::new(name)).await
    }

    /// As [`crate::Broker::list`].
    ///
    /// # Errors
    /// As [`crate::Broker::list`].
    pub async fn list(&self, tag: Option<Tag>) -> Result<Vec<Listed>, Error> {
        self.run(List::new(tag)).await
    }

    /// As [`crate::Broker::reload`].
    ///
    /// # Errors
    /// As [`crate::Broker::reload`].
    pub async fn reload(&self) -> Result<String, Error> {
        self.run(Operate::reload()).await
    }

    /// As [`crate::Broker::purge`].
    ///
    /// # Errors
    /// As [`crate::Broker::purge`].
    pub async fn purge(&self, slot: Option<Slot>) -> Result<String, Error> {
        self.run(Operate::purge(slot)).await
    }

    /// As [`crate::Broker::status`].
    ///
    /// # Errors
    /// As [`crate::Broker::status`].
    pub async fn status(&self) -> Result<String, Error> {
        self.run(Operate::status()).await
    }

    /// As [`crate::Broker::instance`].
    ///
    /// # Errors
    /// As [`crate::Broker::instance`].
    pub async fn instance(&self) -> Result<i64, Error> {
        self.run(Greet::new(Operation::Instance)).await.map(|hello| hello.key)
    }

    /// As [`crate::Broker::claim`].
    ///
    /// # Errors
    /// As [`crate::Broker::claim`].
    pub async fn claim(&self, tag: Tag, mode: Mode, time: Duration) -> Result<Claimed, Error> {
        self.run(Claim::new(tag, mode, time)).await
    }

    /// As [`crate::Broker::claim_and_settle`].
    ///
    /// # Errors
    /// As [`crate::Broker::claim_and_settle`].
    pub async fn claim_and_settle(
        &self,
        tag: Tag,
        mode: Mode,
        time: Duration,
    ) -> Result<Claimed, Error> {
        self.run(Claim::settling(tag, mode, time)).await
    }

    /// As [`crate::Broker::release`].
    ///
    /// # Errors
    /// As [`crate::Broker::release`].
    pub async fn release(&self, tag: Tag) -> Result<(), Error> {
        self.run(OfClaimed::release(tag)).await
    }

    /// As [`crate::Broker::release_to`].
    ///
    /// # Errors
    /// As [`crate::Broker::release_to`].
    pub async fn release_to(&self, tag: Tag, claim: i32) -> Result<(), Error> {
        self.run(OfClaimed::release_to(tag, claim)).await
    }

    /// As [`crate::Broker::ready`].
    ///
    /// # Errors
    /// As [`crate::Broker::ready`].
    pub async fn ready(&self, tag: Tag) -> Result<(), Error> {
        self.run(OfClaimed::ready(tag)).await
    }

    /// As [`crate::Broker::withdraw`].
    ///
    /// # Errors
    /// As [`crate::Broker::withdraw`].
    pub async fn withdraw(&self, tag: Tag) -> Result<(), Error> {
        self.run(OfClaimed::withdraw(tag)).await
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
    async fn run<Q: Question>(&self, mut question: Q) -> Result<Q::Outcome, Error> {
        if let Some(outcome) = question.known(&self.place(false))? {
            return Ok(outcome);
        }
        loop {
            let (answer, connection, repeated) = self.ask(&question).await?;
            match question.hear(answer, &self.place(repeated)) {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => return Err(self.after(error, connection).await),
            }
        }
    }

    /// Sends a message until it is answered, or patience ends. Says with the answer on which
    /// connection it came, and whether the message may have been carried out before.
    async fn ask(
        &self,
        question: &impl Question,
    ) -> Result<(Message<OwnedFd>, Connection, bool), Error> {
        let mut patience = self.connector.patience();
        let mut repeated = false;
        loop {
            let failed = match self.ask_once(question).await {
                Ok((Message::Reply(reply), connection)) if starting(&reply) => {
                    Ok((Message::Reply(reply), connection, repeated))
                }
                Ok((answer, connection)) => return Ok((answer, connection, repeated)),
                Err(Trouble::Passing { error, sent }) if question.bond().repeats() || !sent => {
                    repeated |= sent;
                    Err(error)
                }
                Err(trouble) => return Err(trouble.into_error()),
            };
            match patience.pause() {
                Some(pause) => sleep(pause).await,
                None => return failed,
            }
        }
    }

    async fn ask_once(
        &self,
        question: &impl Question,
    ) -> Result<(Message<OwnedFd>, Connection), Trouble> {
        let parcel = Parcel::of(question.request(), question.feature()).map_err(|_| {
            Trouble::Lasting(Error::NoRoom {
                attempt: self.place(false).attempt(question.operation()),
            })
        })?;
        let (tell, told) = oneshot::channel();
        let order = Order::Ask(parcel, Asker { bond: question.bond(), tell });
        let sent = self.orders.send(order).await;
        let fate = match sent {
            Ok(()) => told.await.ok(),
            Err(_) => None,
        };
        self.fate(question.operation(), fate)
    }

    /// None where there is no driver any more.
    fn fate(
        &self,
        operation: Operation,
        fate: Option<Fate>,
    ) -> Result<(Message<OwnedFd>, Connection), Trouble> {
        let attempt = self.place(false).attempt(operation);
        Err(match fate {
            Some(Fate::Response(Response::Message(message), connection)) => {
                return Ok((message, connection));
            }
            Some(Fate::Response(Response::NoRoom, _)) => Trouble::Lasting(unreceived(attempt)),
            Some(Fate::Response(Response::Version1, _)) => {
                Trouble::Lasting(Error::Version1 { attempt })
            }
            Some(Fate::Response(Response::Unserved(feature), _)) => {
                Trouble::Lasting(Error::Unserved { attempt, feature })
            }
            Some(Fate::Lost(lost)) => lost.trouble(attempt),
            Some(Fate::Unopened(unopened)) => Trouble::of_connecting(unopened.into_error(attempt)),
            Some(Fate::Unclaimed(unclaimed)) => {
                Trouble::Lasting(Error::Broken { attempt, source: unclaimed.into() })
            }
            None => {
                let source = io::Error::new(io::ErrorKind::NotConnected, DRIVERLESS);
                Trouble::Lasting(Error::Broken { attempt, source })
            }
        })
    }

    /// An answer that makes no sense leaves its connection out of step.
    async fn after(&self, error: Error, connection: Connection) -> Error {
        if let Error::Protocol { .. } = error {
            // Without a driver there is no connection, either.
            drop(self.orders.send(Order::End(connection)).await);
        }
        error
    }

    fn unclaimed(&self, operation: Operation, source: io::Error) -> Error {
        Error::Broken { attempt: self.place(false).attempt(operation), source }
    }

    fn place(&self, repeated: bool) -> Place<'_> {
        Place { socket: &self.path, repeated }
    }
}

const DRIVERLESS: &str = "the runtime that the session was made on has ended";
