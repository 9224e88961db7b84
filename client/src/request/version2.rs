//! Names, listings, how the broker is doing, and which one it is.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use fdbroker_wire::version2::{
    self, Answer, Entry as Listed, Features, Found, Listing, Name, Report, Request as WireRequest,
};
use fdbroker_wire::{Errno, Message, Slot, Tag, hello};

use crate::core::outgoing::Outgoing;
use crate::request::{AnswerContext, Encoded, Request};
use crate::{Error, Feature, Operation};

/// FIND.
#[derive(Debug)]
pub(crate) struct Find {
    operation: Operation,
    /// `None` if the text is no name.
    message: Option<Encoded>,
}

/// LIST, as often as there is more.
#[derive(Debug)]
pub(crate) struct List {
    tag: Option<Tag>,
    message: Encoded,
    listed: Vec<Listed>,
}

/// RELOAD, PURGE or STATUS.
#[derive(Debug)]
pub(crate) struct Operate {
    operation: Operation,
    message: Encoded,
}

/// HEL. Its outcome is the number of the broker's instance.
#[derive(Debug)]
pub(crate) struct Greet {
    operation: Operation,
    message: [u8; 16],
}

impl Find {
    pub(crate) fn new(name: &str) -> Self {
        let message = Name::new(name).map(|name| encoded(WireRequest::Find(name)));
        Self { operation: Operation::Find(Arc::from(name)), message }
    }
}

impl Request for Find {
    type Outcome = Found;

    fn operation(&self) -> Operation {
        self.operation.clone()
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Listing)
    }

    fn known(&self, context: &AnswerContext<'_>) -> Result<Option<Found>, Error> {
        match self.message {
            Some(_) => Ok(None),
            None => Err(Error::BadName { attempt: context.attempt(self.operation()) }),
        }
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.as_ref().map_or(Outgoing::plain(&[]), Encoded::outgoing)
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Found>, Error> {
        match context.read(self.operation(), answer)? {
            Answer::Found(found) => Ok(Some(found)),
            _ => Err(context.nonsense(self.operation())),
        }
    }
}

impl List {
    pub(crate) fn new(tag: Option<Tag>) -> Self {
        let message = encoded(WireRequest::List { tag, after: None });
        Self { tag, message, listed: Vec::new() }
    }

    fn take_page(&mut self, page: Listing, context: &AnswerContext<'_>) -> Result<bool, Error> {
        let more = page.more();
        let page = page.into_entries();
        let after = self.listed.last().map(|entry| entry.slot);
        if !goes_on(self.tag, after, &page) || (more && page.is_empty()) {
            return Err(context.protocol(self.operation(), "the listing is out of order"));
        }
        self.listed.extend(page);
        let after = self.listed.last().map(|entry| entry.slot);
        self.message = encoded(WireRequest::List { tag: self.tag, after });
        Ok(more)
    }
}

impl Request for List {
    type Outcome = Vec<Listed>;

    fn operation(&self) -> Operation {
        Operation::List(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Listing)
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.outgoing()
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Vec<Listed>>, Error> {
        let Answer::Listing(page) = context.read(self.operation(), answer)? else {
            return Err(context.nonsense(self.operation()));
        };
        match self.take_page(page, context)? {
            true => Ok(None),
            false => Ok(Some(std::mem::take(&mut self.listed))),
        }
    }
}

impl Operate {
    pub(crate) fn reload() -> Self {
        Self { operation: Operation::Reload, message: encoded(WireRequest::Reload) }
    }

    pub(crate) fn purge(slot: Option<Slot>) -> Self {
        Self { operation: Operation::Purge(slot), message: encoded(WireRequest::Purge(slot)) }
    }

    pub(crate) fn end_lease(number: u64) -> Self {
        let message = encoded(WireRequest::EndLease(number));
        Self { operation: Operation::EndLease(number), message }
    }

    pub(crate) fn status() -> Self {
        Self { operation: Operation::Status, message: encoded(WireRequest::Status) }
    }
}

impl Request for Operate {
    type Outcome = String;

    fn operation(&self) -> Operation {
        self.operation.clone()
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Operate)
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.outgoing()
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<String>, Error> {
        context.told(self.operation(), answer).map(Some)
    }
}

impl Greet {
    /// `operation` is what it is sent for.
    pub(crate) fn new(operation: Operation) -> Self {
        Self { operation, message: hello(version2::greeting(Features::ALL)) }
    }
}

impl Request for Greet {
    type Outcome = i64;

    fn operation(&self) -> Operation {
        self.operation.clone()
    }

    fn message(&self) -> Outgoing<'_> {
        Outgoing::plain(&self.message)
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<i64>, Error> {
        match answer {
            Message::Hello(hello) if hello.key > 0 => Ok(Some(hello.key)),
            Message::Reply(reply) if reply.error() == Some(Errno::PROTO) => {
                Err(Error::Version1 { attempt: context.attempt(self.operation()) })
            }
            other => Err(context.unexpected(self.operation(), other)),
        }
    }
}

impl AnswerContext<'_> {
    pub(super) fn read(
        &self,
        operation: Operation,
        answer: Message<OwnedFd>,
    ) -> Result<Answer, Error> {
        self.extended(operation, answer, Answer::from_extended)
    }

    /// The text of a report, or the failure that it tells of.
    pub(super) fn told(
        &self,
        operation: Operation,
        answer: Message<OwnedFd>,
    ) -> Result<String, Error> {
        let Answer::Report(Report { error, text }) = self.read(operation.clone(), answer)? else {
            return Err(self.nonsense(operation));
        };
        match error {
            None => Ok(text),
            Some(errno) => Err(Error::Reported { attempt: self.attempt(operation), errno, text }),
        }
    }
}

pub(super) fn encoded(asked: WireRequest) -> Encoded {
    Encoded::new(asked.into_extended())
}

/// Whether a page is of this tag, and each of its entries behind the one before.
fn goes_on(tag: Option<Tag>, after: Option<Slot>, page: &[Listed]) -> bool {
    let slots = page.iter().map(|entry| Some(entry.slot));
    let before = std::iter::once(after).chain(slots.clone());
    before.zip(slots).all(|(before, slot)| before < slot)
        && page.iter().all(|entry| tag.is_none_or(|tag| entry.slot.tag == tag))
}
