//! The requests as their callers see them: what is sent, and what the answers mean.
//!
//! A question does no I/O. Whoever has a connection asks it: one that blocks ([`crate::Broker`]),
//! one of tokio's, one that is polled. What is known without asking is not asked, and one question
//! may take several messages.

pub(crate) mod claim;
pub(crate) mod many;
pub(crate) mod slot;
pub(crate) mod version2;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use fdbroker_wire::{Errno, Extended, Fault, Message, Payload, Reply, Tag};

use crate::transfer::Request;
use crate::{Attempt, Error, Feature, Operation};

/// What a caller wants of a broker.
pub(crate) trait Question {
    /// What the caller gets.
    type Outcome;

    /// What it is called in errors.
    fn operation(&self) -> Operation;

    /// The part of version 2 that it needs; none where version 1 does.
    fn feature(&self) -> Option<Feature> {
        None
    }

    /// What it has to do with claims.
    fn bond(&self) -> Bond {
        Bond::Free
    }

    /// What is known before anything is sent.
    ///
    /// # Errors
    /// Why nothing will be sent.
    fn known(&self, _place: &Place<'_>) -> Result<Option<Self::Outcome>, Error> {
        Ok(None)
    }

    /// The message to send now.
    fn request(&self) -> Request<'_>;

    /// Takes the answer to that message. None when there is more to ask.
    ///
    /// # Errors
    /// What was answered instead. After [`Error::Protocol`] the connection is out of step.
    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Self::Outcome>, Error>;
}

/// What a request has to do with the claims of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bond {
    /// Nothing: it counts on any connection, and is repeated on another one.
    Free,
    /// It claims this tag.
    Claims(Tag),
    /// It is about this tag, which was claimed.
    Claimed(Tag),
    /// It gives up this tag, which was claimed.
    Withdraws(Tag),
}

impl Bond {
    /// Whether a request that may have been carried out is repeated on another connection.
    pub(crate) fn repeats(self) -> bool {
        self == Self::Free
    }
}

/// Where a question is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The broker's socket.
    pub(crate) socket: &'a Arc<Path>,
    /// Whether the request may have been carried out before, and its answer lost.
    pub(crate) repeated: bool,
}

impl Place<'_> {
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

    /// What the broker said no to, one slot among many: it has no words for each.
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

/// A message of version 2, as it is sent.
#[derive(Debug)]
pub(crate) struct Sealed {
    head: [u8; 8],
    body: Payload,
}

impl Sealed {
    /// Its head announces the descriptors that it has; they travel beside it.
    pub(crate) fn new<F>(message: Extended<F>) -> Self {
        Self { head: message.head(), body: message.body }
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request { head: &self.head, payload: &self.body, descriptors: &[] }
    }
}
