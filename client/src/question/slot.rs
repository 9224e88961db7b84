//! The requests of version 1: what lies in one slot, and how much in a tag.

use std::os::fd::{BorrowedFd, OwnedFd};

use fdbroker_wire::{Errno, Info, MAX_PAYLOAD, Message, Slot, Tag, add_head, del, get, tag};

use crate::question::{Place, Question};
use crate::transfer::Request;
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
    pub(crate) fn new(
        slot: Slot,
        descriptor: Option<BorrowedFd<'a>>,
        ufd: i32,
        payload: &'a [u8],
    ) -> Self {
        Self { slot, head: add_head(slot, ufd, payload.len()), descriptor, payload }
    }
}

impl Question for Add<'_> {
    type Outcome = ();

    fn operation(&self) -> Operation {
        Operation::Add(self.slot)
    }

    fn known(&self, place: &Place<'_>) -> Result<Option<()>, Error> {
        match self.payload.len() {
            ..=MAX_PAYLOAD => Ok(None),
            size => Err(Error::TooLarge { attempt: place.attempt(self.operation()), size }),
        }
    }

    fn request(&self) -> Request<'_> {
        let descriptors = self.descriptor.as_slice();
        Request { head: &self.head, payload: self.payload, descriptors }
    }

    fn hear(&mut self, answer: Message<OwnedFd>, place: &Place<'_>) -> Result<Option<()>, Error> {
        place.done(self.operation(), answer).map(Some)
    }
}

impl Get {
    pub(crate) fn new(slot: Slot) -> Self {
        Self { slot, head: get(slot) }
    }
}

impl Question for Get {
    type Outcome = Deposit;

    fn operation(&self) -> Operation {
        Operation::Get(self.slot)
    }

    fn request(&self) -> Request<'_> {
        Request::plain(&self.head)
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Deposit>, Error> {
        match answer {
            Message::Add(add) if add.slot == self.slot => Ok(Some(Deposit {
                descriptor: add.descriptor,
                ufd: add.ufd,
                payload: add.payload.into_vec(),
            })),
            other => Err(place.unexpected(self.operation(), other)),
        }
    }
}

impl Del {
    pub(crate) fn new(slot: Slot) -> Self {
        Self { slot, head: del(slot) }
    }
}

impl Question for Del {
    type Outcome = ();

    fn operation(&self) -> Operation {
        Operation::Del(self.slot)
    }

    fn request(&self) -> Request<'_> {
        Request::plain(&self.head)
    }

    fn hear(&mut self, answer: Message<OwnedFd>, place: &Place<'_>) -> Result<Option<()>, Error> {
        match answer {
            // The request before this one was carried out, and its answer lost.
            Message::Reply(reply) if place.repeated && reply.error() == Some(Errno::NOENT) => {
                Ok(Some(()))
            }
            other => place.done(self.operation(), other).map(Some),
        }
    }
}

impl HowMuch {
    pub(crate) fn new(number: Tag) -> Self {
        Self { tag: number, head: tag(number) }
    }
}

impl Question for HowMuch {
    type Outcome = Info;

    fn operation(&self) -> Operation {
        Operation::Tag(self.tag)
    }

    fn request(&self) -> Request<'_> {
        Request::plain(&self.head)
    }

    fn hear(&mut self, answer: Message<OwnedFd>, place: &Place<'_>) -> Result<Option<Info>, Error> {
        match answer {
            Message::Info(info) if info.used >= 0 && info.total >= 0 => Ok(Some(info)),
            other => Err(place.unexpected(self.operation(), other)),
        }
    }
}
