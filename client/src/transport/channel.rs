//! One connection that never waits: requests are sent as the socket takes them, answers are
//! received as they come, and any number of them is under way. The socket's owner holds the
//! channel.
//!
//! HEL is said before the first request. A broker of version 1 is then asked one thing at a time:
//! the oldest of them lost the second of two requests that came together. After a failure the
//! channel is out of step, and is good for nothing but [`Channel::abandon`].

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_wire::claim::Event;
use fdbroker_wire::version2::{self, Features};
use fdbroker_wire::{Errno, MAX_ANSWER, Message, Payload, hello};
use rustix::io::Errno as Os;
use rustix::net::{RecvFlags, SendFlags};

use crate::core::outgoing::Outgoing;
use crate::core::retry_class::{Failure, RetryClass};
use crate::core::{Answer, Core, NoRoom, Ticket};
use crate::transport::io::{receive, send_rest};
use crate::{Attempt, Feature};

/// How many requests may be under way at once; the others wait for their turn here.
const MOST_UNDER_WAY: u64 = 256;

/// Who waits for an answer.
pub(crate) trait Waiter {
    /// Whether nobody does any more, so that the request need not be sent.
    fn is_gone(&self) -> bool;
}

/// A request that belongs to nobody else: its bytes, and duplicates of its descriptors.
#[derive(Debug)]
pub(crate) struct OwnedRequest {
    bytes: Payload,
    descriptors: Vec<OwnedFd>,
    feature: Option<Feature>,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Response {
    /// This was answered.
    Message(Message<OwnedFd>),
    /// The answer's descriptor found no room in this process.
    NoRoom,
    /// It was not sent: the broker is of version 1.
    Version1,
    /// It was not sent: the broker does not serve this.
    Unserved(Feature),
}

/// A request that was not answered when its connection failed.
#[derive(Debug)]
pub(crate) struct Abandoned<W> {
    /// Who waits for it.
    pub(crate) waiter: W,
    /// Why, and whether it may have been carried out.
    pub(crate) lost: Lost,
}

/// Why a request was not answered.
#[derive(Debug)]
pub(crate) struct Lost {
    failure: Failure,
    sent: bool,
}

impl Lost {
    pub(crate) fn retry_class(self, attempt: Attempt) -> RetryClass {
        let class = RetryClass::of_exchange(attempt, self.failure);
        if self.sent { class } else { class.harmless() }
    }
}

/// What was read from a connected socket, and what is to be sent there.
pub(crate) struct Channel<W> {
    core: Core<OwnedFd>,
    /// The bytes of earlier answers are still in it.
    buffer: Payload,
    greeting: Greeting,
    /// What has not begun to be sent.
    queue: VecDeque<(OwnedRequest, W)>,
    /// What has begun to be sent, and how much of it has been.
    sending: Option<(OwnedRequest, usize)>,
    /// What has begun to be sent, and was not answered.
    asked: VecDeque<(Ticket, Asked<W>)>,
    answered: VecDeque<(W, Response)>,
    timeout: Option<Duration>,
    /// Since when the oldest answer is waited for, or goes on coming.
    since: Instant,
    answering: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Greeting {
    Unsaid,
    Said,
    Version1,
    Version2,
}

#[derive(Debug)]
enum Asked<W> {
    Hello,
    By(W),
}

impl OwnedRequest {
    /// Copies the request, and duplicates its descriptors.
    ///
    /// # Errors
    /// Those of fcntl(2): no room for the duplicates.
    pub(crate) fn of(message: &Outgoing<'_>, feature: Option<Feature>) -> io::Result<Self> {
        let duplicates = message.descriptors.iter().map(BorrowedFd::try_clone_to_owned);
        let descriptors = duplicates.collect::<io::Result<_>>()?;
        Ok(Self { bytes: [message.head, message.payload].concat().into(), descriptors, feature })
    }

    /// Sends what has not been sent of it, as much as goes.
    fn send(&self, socket: impl AsFd, sent: usize) -> rustix::io::Result<usize> {
        let descriptors = self.descriptors.iter().map(AsFd::as_fd).collect();
        let message = Outgoing { head: &self.bytes, payload: &[], descriptors };
        send_rest(&message, sent, socket, SendFlags::DONTWAIT)
    }
}

impl<W: Waiter> Channel<W> {
    /// `timeout` is how long each answer may take once its turn has come, and as long again when
    /// it has begun.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self {
            core: Core::new(),
            buffer: vec![0; MAX_ANSWER].into(),
            greeting: Greeting::Unsaid,
            queue: VecDeque::new(),
            sending: None,
            asked: VecDeque::new(),
            answered: VecDeque::new(),
            timeout,
            since: Instant::now(),
            answering: false,
        }
    }

    /// Puts a request behind those that were before.
    pub(crate) fn ask(&mut self, message: OwnedRequest, waiter: W) {
        self.queue.push_back((message, waiter));
    }

    /// How many requests have not begun to be sent.
    #[cfg(feature = "tokio")]
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is something to send now.
    pub(crate) fn wants_write(&self) -> bool {
        self.sending.is_some() || (!self.queue.is_empty() && self.may_send())
    }

    /// Sends as much as goes, to a socket that may block or not.
    ///
    /// # Errors
    /// Every [`Failure`] but [`Failure::NoRoom`]. What was answered before counts.
    pub(crate) fn write(&mut self, socket: impl AsFd) -> Result<(), Failure> {
        while self.begin() {
            let Some((message, sent)) = &mut self.sending else { break };
            match message.send(&socket, *sent) {
                Ok(count) => *sent += count,
                Err(Os::AGAIN) => return Ok(()),
                Err(errno) => return Err(self.unsendable(&socket, errno)),
            }
            self.sending.take_if(|(message, sent)| *sent >= message.bytes.len());
        }
        Ok(())
    }

    /// One recvmsg(2); says whether anything was there.
    ///
    /// # Errors
    /// Every [`Failure`] but [`Failure::NoRoom`]. What was answered before counts.
    pub(crate) fn read(&mut self, socket: impl AsFd) -> Result<bool, Failure> {
        match receive(socket, &mut self.buffer, RecvFlags::DONTWAIT, &mut self.core) {
            Ok(0) => Err(self.ended(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => self.hear().map(|()| true),
            Err(Os::AGAIN) => Ok(false),
            Err(errno) => Err(self.failure(errno)),
        }
    }

    /// The next that was answered.
    pub(crate) fn answered(&mut self) -> Option<(W, Response)> {
        self.answered.pop_front()
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.core.event()
    }

    /// When the oldest answer will be late.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.core.waiting() {
            0 => None,
            _ => self.since.checked_add(self.timeout?),
        }
    }

    /// # Errors
    /// [`Failure::Timeout`] when the oldest answer is late.
    pub(crate) fn check_time(&mut self) -> Result<(), Failure> {
        if self.core.mid_answer() && !self.answering {
            (self.since, self.answering) = (Instant::now(), true);
        }
        match (self.deadline(), self.timeout) {
            (Some(end), Some(after)) if Instant::now() >= end => Err(Failure::Timeout(after)),
            _ => Ok(()),
        }
    }

    /// What becomes of all that was not answered: the failure is that of the oldest, and the
    /// others were lost with it.
    pub(crate) fn abandon(&mut self, failure: Failure) -> Vec<Abandoned<W>> {
        let mut failure = Some(failure);
        let mut abandoned = Vec::new();
        let mut greeting = None;
        for (_, asked) in self.asked.drain(..) {
            let failure = failure.take().unwrap_or_else(Failure::along);
            match asked {
                Asked::Hello => greeting = Some(failure).filter(Failure::lasts),
                Asked::By(waiter) => {
                    let lost = Lost { failure, sent: true };
                    abandoned.push(Abandoned { waiter, lost });
                }
            }
        }
        for (_, waiter) in self.queue.drain(..) {
            let failure = greeting.as_ref().map_or_else(Failure::along, Failure::again);
            abandoned.push(Abandoned { waiter, lost: Lost { failure, sent: false } });
        }
        abandoned
    }

    /// Something to send is at hand.
    fn begin(&mut self) -> bool {
        if self.sending.is_none() && self.greeting == Greeting::Unsaid && !self.queue.is_empty() {
            self.greeting = Greeting::Said;
            self.begin_with(greeting(), Asked::Hello);
        }
        while self.sending.is_none() && self.may_send() {
            let Some((message, waiter)) = self.queue.pop_front() else { break };
            match self.unserved(&message) {
                _ if waiter.is_gone() => {}
                Some(response) => self.answered.push_back((waiter, response)),
                None => self.begin_with(message, Asked::By(waiter)),
            }
        }
        self.sending.is_some()
    }

    fn begin_with(&mut self, message: OwnedRequest, asked: Asked<W>) {
        if self.core.waiting() == 0 {
            (self.since, self.answering) = (Instant::now(), false);
        }
        self.asked.push_back((self.core.ask(), asked));
        self.sending = Some((message, 0));
    }

    fn may_send(&self) -> bool {
        match self.greeting {
            Greeting::Unsaid => true,
            Greeting::Said => false,
            Greeting::Version1 => self.core.waiting() == 0,
            Greeting::Version2 => self.core.waiting() < MOST_UNDER_WAY,
        }
    }

    fn unserved(&self, message: &OwnedRequest) -> Option<Response> {
        let feature = message.feature?;
        match self.core.features() {
            None => Some(Response::Version1),
            Some(granted) if granted.contains(feature.flag()) => None,
            Some(_) => Some(Response::Unserved(feature)),
        }
    }

    /// Delivers each answer to the caller that waits for it.
    fn hear(&mut self) -> Result<(), Failure> {
        while let Some((ticket, answer)) = self.core.answer().map_err(Failure::Nonsense)? {
            (self.since, self.answering) = (Instant::now(), false);
            let position = self.asked.iter().position(|(asked, _)| *asked == ticket);
            match position.and_then(|position| self.asked.remove(position)) {
                Some((_, Asked::By(waiter))) => {
                    self.answered.push_back((waiter, Response::of(answer)));
                }
                Some((_, Asked::Hello)) => self.greeted(answer)?,
                None => {}
            }
        }
        Ok(())
    }

    fn greeted(&mut self, answer: Answer<OwnedFd>) -> Result<(), Failure> {
        self.greeting = match answer {
            Ok(Message::Hello(hello)) if hello.key > 0 => Greeting::Version2,
            Ok(Message::Reply(reply)) if reply.error() == Some(Errno::PROTO) => Greeting::Version1,
            Ok(Message::Reply(reply)) if reply.error().is_some() => {
                // The answer to all that was to come behind it. The next one tries again.
                for (_, waiter) in self.queue.drain(..) {
                    let refusal = Response::Message(Message::Reply(reply.clone()));
                    self.answered.push_back((waiter, refusal));
                }
                Greeting::Unsaid
            }
            _ => return Err(Failure::Nonsense("the answer does not belong to the question")),
        };
        Ok(())
    }

    /// A broker may answer and leave before it has read the request; that counts.
    fn unsendable(&mut self, socket: impl AsFd, errno: Os) -> Failure {
        while let Ok(true) = self.read(&socket) {}
        self.failure(errno)
    }

    fn failure(&self, errno: Os) -> Failure {
        match errno {
            Os::CONNRESET | Os::PIPE | Os::NOTCONN => self.ended(errno.into()),
            _ => Failure::Cut(errno.into()),
        }
    }

    fn ended(&self, error: io::Error) -> Failure {
        if self.core.mid_answer() { Failure::Cut(error) } else { Failure::Lost(error) }
    }
}

impl<W: Waiter + PartialEq> Channel<W> {
    /// This one does not wait any more: what has not begun to be sent will not be, and what its
    /// answer brings is dropped.
    pub(crate) fn give_up(&mut self, waiter: &W) {
        self.queue.retain(|(_, queued)| queued != waiter);
        self.answered.retain(|(answered, _)| answered != waiter);
        let is = |asked: &Asked<W>| matches!(asked, Asked::By(by) if by == waiter);
        if let Some(position) = self.asked.iter().position(|(_, asked)| is(asked))
            && let Some((ticket, _)) = self.asked.remove(position)
        {
            self.core.give_up(ticket);
        }
    }
}

impl<W> fmt::Debug for Channel<W> {
    /// How much is under way, and nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Channel");
        shown.field("greeting", &self.greeting).field("queued", &self.queue.len());
        shown.field("asked", &self.asked.len()).field("answered", &self.answered.len());
        shown.finish_non_exhaustive()
    }
}

impl Response {
    fn of(answer: Answer<OwnedFd>) -> Self {
        match answer {
            Ok(message) => Self::Message(message),
            Err(NoRoom) => Self::NoRoom,
        }
    }
}

fn greeting() -> OwnedRequest {
    let bytes = hello(version2::greeting(Features::ALL)).to_vec().into();
    OwnedRequest { bytes, descriptors: Vec::new(), feature: None }
}

#[cfg(test)]
mod tests;
