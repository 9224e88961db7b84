//! The client for those who have an event loop of their own: it never waits, and has a descriptor
//! to wait for.

mod asked;
mod outcome;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fdbroker_wire::claim::{Event, Mode};
use fdbroker_wire::{Index, Message, Slot, Tag};

use crate::channel::{Abandoned, Channel, Parcel, Response, Waiter};
use crate::claims::Claims;
use crate::question::claim::{Claim, OfClaimed};
use crate::question::many::{DelMany, GetMany};
use crate::question::slot::{Add, Del, Get, HowMuch};
use crate::question::version2::{Find, List, Operate};
use crate::question::{Place, Question};
use crate::room::unreceived;
use crate::socket::Socket;
use crate::trouble::{Failure, Trouble};
use crate::{Attempt, Connector, Error, Operation};
use asked::Asked;
pub use outcome::Outcome;

/// A session with a broker that never waits.
///
/// A request gives a [`Ticket`] at once. [`Polled::process`] sends and receives what can be sent
/// and received; then [`Polled::answer`] has what was answered. It is to be called when the
/// descriptor ([`AsFd`]) is readable, or writable while [`Polled::wants_write`], and after
/// [`Polled::deadline`] if there is one. Requests are under way at once, and answered in order.
///
/// What was answered is kept until it is taken, or its ticket is forgotten.
///
/// **Nothing is repeated.** When the connection is lost, `process` fails once, each request that
/// was not answered has that as its answer, and what was claimed is lost; [`Polled::reconnect`]
/// begins anew, at another descriptor.
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
    asked: BTreeMap<Ticket, Asked>,
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
        let place = Place { socket: &path, repeated: false };
        let socket = self
            .open_socket(&path)
            .map_err(|unopened| unopened.into_error(place.attempt(Operation::Connect)))?;
        Ok(Polled {
            channel: Channel::new(self.answer_timeout()),
            connector: self,
            path,
            socket,
            claims: Claims::default(),
            next: 0,
            asked: BTreeMap::new(),
            answered: BTreeMap::new(),
            over: false,
        })
    }
}

impl Polled {
    /// Asks as [`crate::Broker::add`] does. The descriptor is duplicated until it has been sent.
    /// The answer is [`Outcome::Done`].
    pub fn add(
        &mut self,
        slot: Slot,
        descriptor: Option<BorrowedFd<'_>>,
        payload: &[u8],
    ) -> Ticket {
        let ufd = descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd());
        self.ask(Add::new(slot, descriptor, ufd, payload), |_| Asked::Add(slot))
    }

    /// Asks as [`crate::Broker::get`] does. The answer is [`Outcome::Deposit`].
    pub fn get(&mut self, slot: Slot) -> Ticket {
        self.ask(Get::new(slot), Asked::Get)
    }

    /// Asks as [`crate::Broker::del`] does. The answer is [`Outcome::Done`].
    pub fn del(&mut self, slot: Slot) -> Ticket {
        self.ask(Del::new(slot), Asked::Del)
    }

    /// Asks as [`crate::Broker::tag`] does. The answer is [`Outcome::Info`].
    pub fn tag(&mut self, number: Tag) -> Ticket {
        self.ask(HowMuch::new(number), Asked::HowMuch)
    }

    /// Asks as [`crate::Broker::find`] does. The answer is [`Outcome::Found`].
    pub fn find(&mut self, name: &str) -> Ticket {
        self.ask(Find::new(name), Asked::Find)
    }

    /// Asks as [`crate::Broker::list`] does. The answer is [`Outcome::Listed`].
    pub fn list(&mut self, tag: Option<Tag>) -> Ticket {
        self.ask(List::new(tag), Asked::List)
    }

    /// Asks as [`crate::Broker::reload`] does. The answer is [`Outcome::Report`].
    pub fn reload(&mut self) -> Ticket {
        self.ask(Operate::reload(), Asked::Operate)
    }

    /// Asks as [`crate::Broker::purge`] does. The answer is [`Outcome::Report`].
    pub fn purge(&mut self, slot: Option<Slot>) -> Ticket {
        self.ask(Operate::purge(slot), Asked::Operate)
    }

    /// Asks as [`crate::Broker::status`] does. The answer is [`Outcome::Report`].
    pub fn status(&mut self) -> Ticket {
        self.ask(Operate::status(), Asked::Operate)
    }

    /// Asks as [`crate::Broker::get_many`] does. The answer is [`Outcome::Many`].
    pub fn get_many(&mut self, tag: Tag, indices: &[Index]) -> Ticket {
        self.ask(GetMany::new(tag, indices, false), Asked::GetMany)
    }

    /// Asks as [`crate::Broker::take_many`] does. The answer is [`Outcome::Many`].
    pub fn take_many(&mut self, tag: Tag, indices: &[Index]) -> Ticket {
        self.ask(GetMany::new(tag, indices, true), Asked::GetMany)
    }

    /// Asks as [`crate::Broker::del_many`] does. The answer is [`Outcome::DoneMany`].
    pub fn del_many(&mut self, tag: Tag, indices: &[Index]) -> Ticket {
        self.ask(DelMany::new(tag, indices), Asked::DelMany)
    }

    /// Asks as [`crate::Broker::claim`] does. The answer is [`Outcome::Claimed`].
    pub fn claim(&mut self, tag: Tag, mode: Mode, time: Duration) -> Ticket {
        self.ask(Claim::new(tag, mode, time), Asked::Claim)
    }

    /// Asks as [`crate::Broker::claim_and_settle`] does. The answer is [`Outcome::Claimed`].
    pub fn claim_and_settle(&mut self, tag: Tag, mode: Mode, time: Duration) -> Ticket {
        self.ask(Claim::settling(tag, mode, time), Asked::Claim)
    }

    /// Asks as [`crate::Broker::release`] does. The answer is [`Outcome::Done`].
    pub fn release(&mut self, tag: Tag) -> Ticket {
        self.ask(OfClaimed::release(tag), Asked::OfClaimed)
    }

    /// Asks as [`crate::Broker::release_to`] does. The answer is [`Outcome::Done`].
    pub fn release_to(&mut self, tag: Tag, claim: i32) -> Ticket {
        self.ask(OfClaimed::release_to(tag, claim), Asked::OfClaimed)
    }

    /// Asks as [`crate::Broker::ready`] does. The answer is [`Outcome::Done`].
    pub fn ready(&mut self, tag: Tag) -> Ticket {
        self.ask(OfClaimed::ready(tag), Asked::OfClaimed)
    }

    /// Asks as [`crate::Broker::withdraw`] does. The answer is [`Outcome::Done`].
    pub fn withdraw(&mut self, tag: Tag) -> Ticket {
        self.ask(OfClaimed::withdraw(tag), Asked::OfClaimed)
    }

    /// Sends and receives what can be sent and received now.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection is lost, [`Error::Protocol`] when what came makes no
    /// sense, [`Error::Timeout`] when the oldest answer is late. There is no connection then.
    pub fn process(&mut self) -> Result<(), Error> {
        if self.over {
            return Err(self.disconnected(Operation::Process));
        }
        let transferred = self.transfer();
        self.take_answers().and(transferred).map_err(|failure| self.end(failure))
    }

    /// What came of a request, once. None while there is no answer, and for a ticket that was
    /// answered before or forgotten.
    pub fn answer(&mut self, ticket: Ticket) -> Option<Result<Outcome, Error>> {
        self.answered.remove(&ticket)
    }

    /// The answer is not wanted any more: what it brings is closed. What has not begun to be sent
    /// is not sent.
    pub fn forget(&mut self, ticket: Ticket) {
        self.channel.give_up(&ticket);
        self.asked.remove(&ticket);
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

    /// Connects anew. What was not answered has failed then.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub fn reconnect(&mut self) -> Result<(), Error> {
        let opened = self.connector.open_socket(&self.path);
        let socket = opened
            .map_err(|unopened| unopened.into_error(self.place().attempt(Operation::Connect)))?;
        if !self.over {
            self.end(Failure::along());
        }
        self.socket = socket;
        self.channel = Channel::new(self.connector.answer_timeout());
        self.over = false;
        Ok(())
    }

    /// What fails before it is sent is answered at once.
    fn ask<Q: Question>(&mut self, question: Q, asked: impl FnOnce(Q) -> Asked) -> Ticket
    where
        Outcome: From<Q::Outcome>,
    {
        let ticket = Ticket(self.next);
        self.next += 1;
        match self.prepare(&question) {
            Ok(parcel) => {
                self.channel.ask(parcel, ticket);
                self.asked.insert(ticket, asked(question));
            }
            Err(known) => drop(self.answered.insert(ticket, known)),
        }
        ticket
    }

    /// # Errors
    /// What is known without sending anything.
    fn prepare<Q: Question>(&mut self, question: &Q) -> Result<Parcel, Result<Outcome, Error>>
    where
        Outcome: From<Q::Outcome>,
    {
        match question.known(&self.place()) {
            Ok(None) => {}
            Ok(Some(outcome)) => return Err(Ok(outcome.into())),
            Err(error) => return Err(Err(error)),
        }
        if self.over {
            return Err(Err(self.disconnected(question.operation())));
        }
        if let Err(unclaimed) = self.claims.check(question.bond()) {
            let attempt = self.place().attempt(question.operation());
            return Err(Err(Error::Broken { attempt, source: unclaimed.into() }));
        }
        let parcel = Parcel::of(question.request(), question.feature());
        parcel.map_err(|_no_room| {
            Err(Error::NoRoom { attempt: self.place().attempt(question.operation()) })
        })
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
            let Some(asked) = self.asked.remove(&ticket) else { continue };
            let answer = match response {
                Response::Message(message) => self.hear(ticket, asked, message),
                Response::NoRoom => Some(Err(unreceived(self.attempt(&asked)))),
                Response::Version1 => Some(Err(Error::Version1 { attempt: self.attempt(&asked) })),
                Response::Unserved(feature) => {
                    Some(Err(Error::Unserved { attempt: self.attempt(&asked), feature }))
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

    /// None when there is more to ask, which then is.
    fn hear(
        &mut self,
        ticket: Ticket,
        mut asked: Asked,
        message: Message<OwnedFd>,
    ) -> Option<Result<Outcome, Error>> {
        self.claims.hear(asked.bond(), Some(&message));
        let place = Place { socket: &self.path, repeated: false };
        if let Some(outcome) = asked.hear(message, &place).transpose() {
            return Some(outcome);
        }
        match asked.parcel() {
            Ok(Some(parcel)) => {
                self.channel.ask(parcel, ticket);
                self.asked.insert(ticket, asked);
                None
            }
            _ => Some(Err(Error::NoRoom { attempt: self.attempt(&asked) })),
        }
    }

    /// Ends the connection, and gives every request that was not answered that as its answer.
    fn end(&mut self, failure: Failure) -> Error {
        self.over = true;
        self.socket.end();
        self.claims = Claims::default();
        for Abandoned { waiter, lost } in self.channel.abandon(failure.again()) {
            if let Some(asked) = self.asked.remove(&waiter) {
                let error = lost.trouble(self.attempt(&asked)).into_error();
                self.answered.insert(waiter, Err(error));
            }
        }
        Trouble::of_exchange(self.place().attempt(Operation::Process), failure).into_error()
    }

    fn disconnected(&self, operation: Operation) -> Error {
        let source = io::ErrorKind::NotConnected.into();
        Error::Broken { attempt: self.place().attempt(operation), source }
    }

    fn attempt(&self, asked: &Asked) -> Attempt {
        self.place().attempt(asked.operation())
    }

    fn place(&self) -> Place<'_> {
        Place { socket: &self.path, repeated: false }
    }
}

/// Shows where it is connected and how much is under way, and nothing of it.
impl fmt::Debug for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Polled");
        shown.field("socket", &self.path).field("connected", &!self.over);
        shown.field("asked", &self.asked.len()).field("answered", &self.answered.len());
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
    /// Whoever goes gives his ticket back.
    fn is_gone(&self) -> bool {
        false
    }
}
