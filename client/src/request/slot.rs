//! The requests of version 1: about one slot, and how much a tag holds.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use fdbroker_wire::{Errno, Info, MAX_PAYLOAD, Message, Slot, Tag, add_head, del, get, tag};

use crate::core::outgoing::Outgoing;
use crate::request::{AnswerContext, Detach, Request};
use crate::{Deposit, Error, Operation};

/// ADD.
pub(crate) struct Add<'a> {
    slot: Slot,
    head: [u8; 16],
    descriptor: Option<BorrowedFd<'a>>,
    payload: &'a [u8],
}

/// GET.
#[derive(Debug)]
pub(crate) struct Get {
    slot: Slot,
    head: [u8; 8],
}

/// DEL.
#[derive(Debug)]
pub(crate) struct Del {
    slot: Slot,
    head: [u8; 8],
}

/// TAG.
#[derive(Debug)]
pub(crate) struct HowMuch {
    tag: Tag,
    head: [u8; 4],
}

impl<'a> Add<'a> {
    pub(crate) fn new(slot: Slot, descriptor: Option<BorrowedFd<'a>>, payload: &'a [u8]) -> Self {
        let ufd = descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd());
        Self { slot, head: add_head(slot, ufd, payload.len()), descriptor, payload }
    }

    /// Of a descriptor under another number than its own.
    pub(crate) fn numbered(
        slot: Slot,
        descriptor: BorrowedFd<'a>,
        number: u32,
        payload: &'a [u8],
    ) -> Self {
        let ufd = i32::try_from(number).unwrap_or(i32::MAX);
        let head = add_head(slot, ufd, payload.len());
        Self { slot, head, descriptor: Some(descriptor), payload }
    }
}

impl Request for Add<'_> {
    type Outcome = ();

    fn operation(&self) -> Operation {
        Operation::Add(self.slot)
    }

    fn known(&self, context: &AnswerContext<'_>) -> Result<Option<()>, Error> {
        match self.payload.len() {
            ..=MAX_PAYLOAD => Ok(None),
            size => Err(Error::TooLarge { attempt: context.attempt(self.operation()), size }),
        }
    }

    fn message(&self) -> Outgoing<'_> {
        let descriptors = self.descriptor.into_iter().collect();
        Outgoing { head: &self.head, payload: self.payload, descriptors }
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<()>, Error> {
        context.done(self.operation(), answer).map(Some)
    }
}

/// An ADD takes one message, which has been sent.
impl Detach for Add<'_> {
    type Detached = Add<'static>;

    fn detach(self) -> io::Result<Add<'static>> {
        Ok(Add { slot: self.slot, head: self.head, descriptor: None, payload: &[] })
    }
}

impl Get {
    pub(crate) fn new(slot: Slot) -> Self {
        Self { slot, head: get(slot) }
    }
}

impl Request for Get {
    type Outcome = Deposit;

    fn operation(&self) -> Operation {
        Operation::Get(self.slot)
    }

    fn message(&self) -> Outgoing<'_> {
        Outgoing::plain(&self.head)
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Deposit>, Error> {
        match answer {
            Message::Add(add) if add.slot == self.slot => Ok(Some(Deposit {
                descriptor: add.descriptor,
                ufd: add.ufd,
                payload: add.payload.into_vec(),
            })),
            other => Err(context.unexpected(self.operation(), other)),
        }
    }
}

impl Del {
    pub(crate) fn new(slot: Slot) -> Self {
        Self { slot, head: del(slot) }
    }
}

impl Request for Del {
    type Outcome = ();

    fn operation(&self) -> Operation {
        Operation::Del(self.slot)
    }

    fn message(&self) -> Outgoing<'_> {
        Outgoing::plain(&self.head)
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<()>, Error> {
        match answer {
            // The request before this one was carried out, and its answer lost.
            Message::Reply(reply) if context.repeated && reply.error() == Some(Errno::NOENT) => {
                Ok(Some(()))
            }
            other => context.done(self.operation(), other).map(Some),
        }
    }
}

impl HowMuch {
    pub(crate) fn new(number: Tag) -> Self {
        Self { tag: number, head: tag(number) }
    }
}

impl Request for HowMuch {
    type Outcome = Info;

    fn operation(&self) -> Operation {
        Operation::Tag(self.tag)
    }

    fn message(&self) -> Outgoing<'_> {
        Outgoing::plain(&self.head)
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Info>, Error> {
        match answer {
            Message::Info(info) if info.used >= 0 && info.total >= 0 => Ok(Some(info)),
            other => Err(context.unexpected(self.operation(), other)),
        }
    }
}
