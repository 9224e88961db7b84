//! The task that owns the connection: it sends requests and delivers answers, connects when there
//! is something to ask, and ends with the last client.
//!
//! It never repeats a request: the caller gets an error, and may ask again. A request whose caller
//! has gone is not sent. Once its first byte was sent, it is sent whole, and its answer is dropped.

use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::tokio::io::Interest;
use ::tokio::net::UnixStream;
use ::tokio::sync::{mpsc, oneshot};
use ::tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::shared::Shared;
use crate::Connector;
use crate::core::claims::{ClaimEffect, Unclaimed};
use crate::core::retry_class::Failure;
use crate::transport::channel::{Abandoned, Channel, Lost, OwnedRequest, Response, Waiter};
use crate::transport::connector::Unopened;

/// How many requests may wait in a channel for their first byte to be sent.
const MOST_QUEUED: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What a client wants of its driver.
#[derive(Debug)]
pub(super) enum Order {
    /// A request is to be sent.
    Ask(OwnedRequest, Asker),
    /// This connection gave an answer that makes no sense.
    End(ConnectionId),
}

/// Which of its connections: they are numbered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ConnectionId(u64);

/// Who asked.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) claim_effect: ClaimEffect,
    pub(super) tell: oneshot::Sender<Completion>,
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Completion {
    /// It came to an answer on this connection.
    Response(Response, ConnectionId),
    /// The connection failed.
    Lost(Lost),
    /// There is no connection.
    Unopened(Unopened),
    /// It is about what is not claimed.
    Unclaimed(Unclaimed),
}

/// The task, and what it has beside a connection.
#[derive(Debug)]
pub(super) struct Driver {
    connector: Connector,
    path: Arc<Path>,
    orders: mpsc::Receiver<Order>,
    shared: Arc<Shared>,
    connections: u64,
}

/// A connection that is being driven.
struct Driven<'a> {
    id: ConnectionId,
    stream: UnixStream,
    channel: Channel<Asker>,
    orders: &'a mut mpsc::Receiver<Order>,
    shared: &'a Shared,
    alarm: Pin<Box<Sleep>>,
}

/// Why a connection is not driven any more.
enum End {
    Failure(Failure),
    /// Nobody can ask anything any more.
    Deserted,
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Waiter for Asker {
    fn is_gone(&self) -> bool {
        self.tell.is_closed()
    }
}

impl Asker {
    /// Delivers the answer. If the caller has gone, the answer is dropped, with its descriptors.
    fn tell(self, fate: Completion) {
        drop(self.tell.send(fate));
    }
}

impl Driver {
    pub(super) fn new(
        connector: Connector,
        path: Arc<Path>,
        orders: mpsc::Receiver<Order>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { connector, path, orders, shared, connections: 0 }
    }

    /// Connects for the first time.
    pub(super) async fn open_first(&mut self) -> Result<UnixStream, Unopened> {
        self.open(|| false).await
    }

    /// Until there are no clients any more.
    pub(super) async fn run(mut self, first: UnixStream) {
        self.drive(first, None).await;
        while let Some(order) = self.orders.recv().await {
            let Order::Ask(message, asker) = order else { continue };
            match self.open(|| asker.is_gone()).await {
                Ok(stream) => self.drive(stream, Some((message, asker))).await,
                Err(unopened) => asker.tell(Completion::Unopened(unopened)),
            }
        }
    }

    async fn drive(&mut self, stream: UnixStream, first: Option<(OwnedRequest, Asker)>) {
        self.connections += 1;
        let mut driven = Driven {
            id: ConnectionId(self.connections),
            stream,
            channel: Channel::new(self.connector.answer_timeout()),
            orders: &mut self.orders,
            shared: &self.shared,
            alarm: Box::pin(sleep(Duration::ZERO)),
        };
        if let Some((message, asker)) = first {
            driven.accept(message, asker);
        }
        let end = poll_fn(|context| driven.poll(context)).await;
        driven.end(end);
    }

    /// One connection; where too many wait to be accepted, it waits until there is room, the
    /// time is up, or nobody wants it any more.
    async fn open(&self, is_unwanted: impl Fn() -> bool) -> Result<UnixStream, Unopened> {
        let timeout = self.connector.answer_timeout();
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut pause = FIRST_PAUSE;
        let socket = loop {
            match self.connector.open_at_once(&self.path)? {
                Some(socket) => break socket,
                None if is_unwanted() => {
                    return Err(Unopened::Broken(io::ErrorKind::WouldBlock.into()));
                }
                None => {}
            }
            match (timeout, end) {
                (Some(timeout), Some(end)) if Instant::now() >= end => {
                    return Err(Unopened::Timeout(timeout));
                }
                _ => sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        UnixStream::from_std(socket.into()).map_err(Unopened::Broken)
    }
}

impl Driven<'_> {
    /// Does what can be done; ready when the connection is at its end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            match self.poll_once(context) {
                Ok(true) => {}
                Ok(false) => return self.poll_alarm(context).map(End::Failure),
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    /// Says whether anything happened.
    fn poll_once(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let taken = self.take_orders(context)?;
        let written = self.write(context)?;
        let read = self.read(context);
        self.deliver();
        Ok(taken | written | read?)
    }

    fn take_orders(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let mut taken = false;
        while self.channel.queued() < MOST_QUEUED {
            match self.orders.poll_recv(context) {
                Poll::Ready(Some(Order::Ask(message, asker))) => {
                    self.accept(message, asker);
                }
                Poll::Ready(Some(Order::End(id))) if id == self.id => {
                    return Err(End::Failure(Failure::along()));
                }
                Poll::Ready(Some(Order::End(_))) => {}
                Poll::Ready(None) => return Err(End::Deserted),
                Poll::Pending => break,
            }
            taken = true;
        }
        Ok(taken)
    }

    /// Takes a request up, unless it is about what is not claimed.
    fn accept(&mut self, message: OwnedRequest, asker: Asker) {
        let claimed = self.shared.state().claims.check(asker.claim_effect);
        match claimed {
            Ok(()) => self.channel.ask(message, asker),
            Err(unclaimed) => asker.tell(Completion::Unclaimed(unclaimed)),
        }
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut written = false;
        while self.channel.wants_write() {
            let Poll::Ready(ready) = self.stream.poll_write_ready(context) else { break };
            ready.map_err(Failure::Cut)?;
            let (stream, channel) = (&self.stream, &mut self.channel);
            written |= at_once(stream, Interest::WRITABLE, || {
                channel.write(stream).map(|()| !channel.wants_write())
            })?;
        }
        Ok(written)
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut read = false;
        while let Poll::Ready(ready) = self.stream.poll_read_ready(context) {
            ready.map_err(Failure::Cut)?;
            let (stream, channel) = (&self.stream, &mut self.channel);
            read |= at_once(stream, Interest::READABLE, || channel.read(stream))?;
        }
        Ok(read)
    }

    /// Delivers answers and events. A claim counts before the events behind its answer.
    fn deliver(&mut self) {
        let channel = &mut self.channel;
        while let Some((asker, response)) = channel.answered() {
            if let Response::Message(message) = &response {
                self.shared.state().claims.hear(asker.claim_effect, Some(message));
            }
            asker.tell(Completion::Response(response, self.id));
        }
        while let Some(event) = channel.event() {
            self.shared.put(event);
        }
    }

    /// Ready when the oldest answer is late.
    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        loop {
            let Some(deadline) = self.channel.deadline() else { return Poll::Pending };
            let deadline = Instant::from_std(deadline);
            if self.alarm.deadline() != deadline {
                self.alarm.set(sleep_until(deadline));
            }
            ready!(self.alarm.as_mut().poll(context));
            if let Err(failure) = self.channel.check_time() {
                return Poll::Ready(failure);
            }
        }
    }

    /// Tells everybody who is still waiting.
    fn end(mut self, end: End) {
        self.deliver();
        self.shared.end();
        let End::Failure(failure) = end else { return };
        for Abandoned { waiter, lost } in self.channel.abandon(failure) {
            self.shared.state().claims.hear(waiter.claim_effect, None);
            waiter.tell(Completion::Lost(lost));
        }
    }
}

/// Does what the socket is ready for, as far as tokio knows. Where it says that it could not, the
/// next readiness is waited for.
fn at_once(
    stream: &UnixStream,
    interest: Interest,
    mut io: impl FnMut() -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let mut outcome = Ok(false);
    // That it could not be done is told by the outcome, too.
    let _ = stream.try_io(interest, || {
        outcome = io();
        match outcome {
            Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    });
    outcome
}
