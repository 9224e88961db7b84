//! The protocol as a client sees it, without I/O: bytes and descriptors in, answers and events out.
//!
//! Answers come in the order of the requests, so each request has a [`Ticket`], and the next
//! answer is that of the oldest one. Events, which nobody asked for, are set apart wherever they
//! come. What belongs to a ticket that was given up is dropped, and with it what it brought. A
//! core that has found a fault is out of step with its broker: it must not be used any more.

pub(crate) mod claims;
pub(crate) mod outgoing;
pub(crate) mod retry_class;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use fdbroker_wire::claim::Event;
use fdbroker_wire::version2::Features;
use fdbroker_wire::{Decoder, Errno, Extended, Hello, Limits, Message, opcode};

/// One end of a conversation with a broker, over descriptors of type `F`.
pub(crate) struct Core<F> {
    decoder: Decoder<F>,
    /// The ticket of the next request.
    next: u64,
    /// The ticket that the next answer is for.
    due: u64,
    given_up: BTreeSet<u64>,
    events: Events,
    hello: Option<Hello>,
}

/// Which request it is, of one conversation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket(u64);

#[cfg(fuzzing)]
impl Ticket {
    pub(crate) fn numbered(number: u64) -> Self {
        Self(number)
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// What was answered to one request.
pub(crate) type Answer<F> = Result<Message<F>, NoRoom>;

/// An answer's descriptor found no room in this process; the conversation goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoRoom;

/// What is wrong with what a broker sent.
pub(crate) type Reason = &'static str;

impl<F> Core<F> {
    /// A conversation in which nothing has been said.
    pub(crate) fn new() -> Self {
        Self {
            decoder: Decoder::new(Limits::PEER),
            next: 0,
            due: 0,
            given_up: BTreeSet::new(),
            events: Events::default(),
            hello: None,
        }
    }

    /// A request is sent now, behind all that were before.
    pub(crate) fn ask(&mut self) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        ticket
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn give_up(&mut self, ticket: Ticket) {
        if ticket.0 >= self.due {
            self.given_up.insert(ticket.0);
        }
    }

    /// How many requests have not been answered yet, those included that were given up.
    pub(crate) fn waiting(&self) -> u64 {
        self.next - self.due
    }

    /// Takes the bytes and descriptors of one recvmsg(2); `truncated` is its MSG_CTRUNC.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        descriptors: impl IntoIterator<Item = F>,
        truncated: bool,
    ) {
        self.decoder.feed(bytes, descriptors, truncated);
    }

    /// Returns the next answer that somebody waits for, or `None` until more is fed. Every event
    /// that came before it is set apart.
    ///
    /// # Errors
    /// What is wrong with the answer; the conversation is over.
    pub(crate) fn answer(&mut self) -> Result<Option<(Ticket, Answer<F>)>, Reason> {
        loop {
            let Some(found) = self.decoder.message() else {
                return self.check_rest().map(|()| None);
            };
            let answer = match found {
                Ok(Message::Extended(message)) if Event::is(&message) => {
                    self.take_in(message)?;
                    continue;
                }
                Ok(message) => Ok(message),
                Err(fault) if fault.errno == Errno::MFILE && !fault.fatal => Err(NoRoom),
                Err(fault) => return Err(fault.reason),
            };
            let ticket = self.take_ticket()?;
            if let Ok(Message::Hello(hello)) = answer {
                self.hello = Some(hello).filter(|hello| hello.key > 0);
            }
            if !self.given_up.remove(&ticket.0) {
                return Ok(Some((ticket, answer)));
            }
        }
    }

    /// The oldest event that has not been taken.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.events.take()
    }

    /// Whether all that came has been looked at.
    pub(crate) fn is_drained(&self) -> bool {
        self.decoder.pending() == 0
    }

    /// Whether an answer has begun to come, and is not complete.
    pub(crate) fn mid_answer(&self) -> bool {
        !self.decoder.rest().is_empty() && !self.mid_event()
    }

    /// What HEL was granted; none before it, and with a broker of version 1.
    pub(crate) fn features(&self) -> Option<Features> {
        self.hello.map(|hello| Features::from_flags(hello.flags))
    }

    fn take_in(&mut self, message: Extended<F>) -> Result<(), Reason> {
        if !self.features().is_some_and(|granted| granted.contains(Features::CLAIM)) {
            return Err("an event came, and nothing was claimed");
        }
        if let Some(event) = Event::from_extended(message).map_err(|fault| fault.reason)? {
            self.events.put(event);
        }
        Ok(())
    }

    fn take_ticket(&mut self) -> Result<Ticket, Reason> {
        if self.due == self.next {
            return Err(UNASKED);
        }
        let ticket = Ticket(self.due);
        self.due += 1;
        Ok(ticket)
    }

    /// Where nothing was asked, only an event can be on its way. Otherwise what is too much now
    /// would be taken for the answer to the next request.
    fn check_rest(&self) -> Result<(), Reason> {
        if self.due == self.next && self.mid_answer() { Err(UNASKED) } else { Ok(()) }
    }

    /// The first byte tells already: no other message begins with that one.
    fn mid_event(&self) -> bool {
        let rest = self.decoder.rest();
        let op = opcode::EVENT.to_ne_bytes();
        rest.starts_with(&op[..op.len().min(rest.len())])
    }
}

impl<F> fmt::Debug for Core<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Core");
        shown.field("waiting", &self.waiting()).field("events", &self.events.0.len());
        shown.finish_non_exhaustive()
    }
}

const UNASKED: Reason = "more than one answer came to one request";

/// What nobody has been told yet: of each tag the latest event, which is all that a broker keeps
/// of it either. So there are never more of them than tags.
#[derive(Debug, Default)]
pub(crate) struct Events(VecDeque<Event>);

impl Events {
    /// Puts an event behind those of other tags, in the place of an earlier one of its own.
    pub(crate) fn put(&mut self, event: Event) {
        self.0.retain(|earlier| earlier.tag != event.tag);
        self.0.push_back(event);
    }

    /// The oldest.
    pub(crate) fn take(&mut self) -> Option<Event> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests;
