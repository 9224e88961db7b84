//! The requests: what is sent, and what the answers mean.
//!
//! A request does no I/O. A session sends it: one that blocks ([`crate::Broker`]), one of tokio, or
//! one that is polled. A request whose outcome is known is not sent, and one request may take several
//! messages. [`table`] has one row for each, of which every session makes a method.

pub(crate) mod claim;
mod detach;
pub(crate) mod many;
pub(crate) mod pages;
pub(crate) mod slot;
pub(crate) mod table;
pub(crate) mod version2;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use fdbroker_wire::{Errno, Extended, Fault, Message, Payload, Reply};

use crate::core::claims::ClaimEffect;
use crate::core::outgoing::Outgoing;
use crate::{Attempt, Error, Feature, Operation};

/// What a caller wants of a broker.
pub(crate) trait Request {
    /// What the caller gets.
    type Outcome;

    /// What it is called in errors.
    fn operation(&self) -> Operation;

    /// The part of version 2 that it needs; `None` if version 1 has it.
    fn feature(&self) -> Option<Feature> {
        None
    }

    /// What it has to do with claims.
    fn claim_effect(&self) -> ClaimEffect {
        ClaimEffect::None
    }

    /// What is known before anything is sent.
    ///
    /// # Errors
    /// Why nothing will be sent.
    fn known(&self, _context: &AnswerContext<'_>) -> Result<Option<Self::Outcome>, Error> {
        Ok(None)
    }

    /// The message to send now.
    fn message(&self) -> Outgoing<'_>;

    /// Takes the answer to that message. Returns `None` if there is more to ask.
    ///
    /// # Errors
    /// What was answered instead. After [`Error::Protocol`] the connection is out of step.
    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Self::Outcome>, Error>;
}

/// A request that can do without what it borrows.
pub(crate) trait Detach: Request + Sized {
    /// The same request, without anything borrowed.
    type Detached: Request<Outcome = Self::Outcome> + Send + Sync + 'static;

    /// Copies what the messages behind the first one need, and duplicates their descriptors.
    ///
    /// # Errors
    /// Those of fcntl(2): this process has no room for the duplicates.
    fn detach(self) -> io::Result<Self::Detached>;
}

/// What the meaning of an answer depends on beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerContext<'a> {
    /// The broker's socket.
    pub(crate) socket: &'a Arc<Path>,
    /// Whether the request may have been carried out before, and its answer lost.
    pub(crate) repeated: bool,
}

impl AnswerContext<'_> {
    pub(crate) fn attempt(&self, operation: Operation) -> Attempt {
        Attempt { operation, socket: Arc::clone(self.socket) }
    }

    /// An answer that says no more than that it was done.
    pub(crate) fn done(&self, operation: Operation, answer: Message<OwnedFd>) -> Result<(), Error> {
        match answer {
            Message::Reply(Reply { rc: 0, .. }) => Ok(()),
            other => Err(self.unexpected(operation, other)),
        }
    }

    /// An answer of version 2, as `read` takes it.
    pub(crate) fn extended<T>(
        &self,
        operation: Operation,
        answer: Message<OwnedFd>,
        read: impl FnOnce(Extended<OwnedFd>) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        match answer {
            Message::Extended(answer) => {
                read(answer).map_err(|fault| self.protocol(operation, fault.reason))
            }
            other => Err(self.unexpected(operation, other)),
        }
    }

    /// An answer of another kind than a success has: a refusal, or nonsense.
    pub(crate) fn unexpected(&self, operation: Operation, answer: Message<OwnedFd>) -> Error {
        match answer {
            Message::Reply(reply) => self.refusal(operation, reply),
            _ => self.nonsense(operation),
        }
    }

    pub(crate) fn refusal(&self, operation: Operation, reply: Reply) -> Error {
        match reply.error() {
            Some(errno) => Error::answered(self.attempt(operation), errno, reply.text),
            None => self.nonsense(operation),
        }
    }

    /// Returns the error of one slot among many, for which the broker has no words.
    pub(crate) fn refused(&self, operation: Operation, errno: Errno) -> Error {
        Error::answered(self.attempt(operation), errno, String::new())
    }

    pub(crate) fn nonsense(&self, operation: Operation) -> Error {
        self.protocol(operation, "the answer does not belong to the question")
    }

    pub(crate) fn protocol(&self, operation: Operation, reason: &'static str) -> Error {
        Error::Protocol { attempt: self.attempt(operation), reason }
    }
}

/// A message of version 2, in bytes.
#[derive(Debug)]
pub(crate) struct Encoded {
    head: [u8; 8],
    body: Payload,
}

impl Encoded {
    /// Its head announces the descriptors that it has; they travel beside it.
    pub(crate) fn new(message: Extended<OwnedFd>) -> Self {
        Self::with_descriptors(message).0
    }

    /// The same, and the descriptors.
    pub(crate) fn with_descriptors<F>(message: Extended<F>) -> (Self, Vec<F>) {
        (Self { head: message.head(), body: message.body }, message.descriptors)
    }

    pub(crate) fn outgoing(&self) -> Outgoing<'_> {
        Outgoing { head: &self.head, payload: &self.body, ..Outgoing::default() }
    }
}
