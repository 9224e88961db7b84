//! Names, listings, how the broker is doing, and which one it is.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use fdbroker_wire::version2::{
    self, Answer, Entry as Listed, Features, Found, Listing, Name, Report, Request as Asked,
};
use fdbroker_wire::{Errno, Hello, Message, Slot, Tag, hello};

use crate::question::{Place, Question, Sealed};
use crate::transfer::Request;
use crate::{Error, Feature, Operation};

/// FIND.
#[derive(Debug)]
pub(crate) struct Find {
    operation: Operation,
    /// None where the text is no name.
    message: Option<Sealed>,
}

/// LIST, as often as there is more.
#[derive(Debug)]
pub(crate) struct List {
    tag: Option<Tag>,
    message: Sealed,
    listed: Vec<Listed>,
}

/// RELOAD, PURGE or STATUS.
#[derive(Debug)]
pub(crate) struct Operate {
    operation: Operation,
    message: Sealed,
}

/// HEL.
#[derive(Debug)]
pub(crate) struct Greet {
    operation: Operation,
    message: [u8; 16],
}

impl Find {
    pub(crate) fn new(name: &str) -> Self {
        let message = Name::new(name).map(|name| sealed(Asked::Find(name)));
        Self { operation: Operation::Find(Arc::from(name)), message }
    }
}

impl Question for Find {
    type Outcome = Found;

    fn operation(&self) -> Operation {
        self.operation.clone()
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Listing)
    }

    fn known(&self, place: &Place<'_>) -> Result<Option<Found>, Error> {
        match self.message {
            Some(_) => Ok(None),
            None => Err(Error::BadName { attempt: place.attempt(self.operation()) }),
        }
    }

    fn request(&self) -> Request<'_> {
        self.message.as_ref().map_or(Request::plain(&[]), Sealed::request)
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Found>, Error> {
        match place.read(self.operation(), answer)? {
            Answer::Found(found) => Ok(Some(found)),
            _ => Err(place.nonsense(self.operation())),
        }
    }
}

impl List {
    pub(crate) fn new(tag: Option<Tag>) -> Self {
        let message = sealed(Asked::List { tag, after: None });
        Self { tag, message, listed: Vec::new() }
    }

    fn take_page(&mut self, page: Listing, place: &Place<'_>) -> Result<bool, Error> {
        let more = page.more();
        let page = page.into_entries();
        let after = self.listed.last().map(|entry| entry.slot);
        if !goes_on(self.tag, after, &page) || (more && page.is_empty()) {
            return Err(place.protocol(self.operation(), "the listing is out of order"));
        }
        self.listed.extend(page);
        let after = self.listed.last().map(|entry| entry.slot);
        self.message = sealed(Asked::List { tag: self.tag, after });
        Ok(more)
    }
}

impl Question for List {
    type Outcome = Vec<Listed>;

    fn operation(&self) -> Operation {
        Operation::List(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Listing)
    }

    fn request(&self) -> Request<'_> {
        self.message.request()
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Vec<Listed>>, Error> {
        let Answer::Listing(page) = place.read(self.operation(), answer)? else {
            return Err(place.nonsense(self.operation()));
        };
        match self.take_page(page, place)? {
            true => Ok(None),
            false => Ok(Some(std::mem::take(&mut self.listed))),
        }
    }
}

impl Operate {
    pub(crate) fn reload() -> Self {
        Self { operation: Operation::Reload, message: sealed(Asked::Reload) }
    }

    pub(crate) fn purge(slot: Option<Slot>) -> Self {
        Self { operation: Operation::Purge(slot), message: sealed(Asked::Purge(slot)) }
    }

    pub(crate) fn status() -> Self {
        Self { operation: Operation::Status, message: sealed(Asked::Status) }
    }
}

impl Question for Operate {
    type Outcome = String;

    fn operation(&self) -> Operation {
        self.operation.clone()
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Operate)
    }

    fn request(&self) -> Request<'_> {
        self.message.request()
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<String>, Error> {
        match place.read(self.operation(), answer)? {
            Answer::Report(Report { error: None, text }) => Ok(Some(text)),
            Answer::Report(Report { error: Some(errno), text }) => {
                Err(Error::Reported { attempt: place.attempt(self.operation()), errno, text })
            }
            _ => Err(place.nonsense(self.operation())),
        }
    }
}

impl Greet {
    /// `operation`: what it is said for.
    pub(crate) fn new(operation: Operation) -> Self {
        Self { operation, message: hello(version2::greeting(Features::ALL)) }
    }
}

impl Question for Greet {
    type Outcome = Hello;

    fn operation(&self) -> Operation {
        self.operation.clone()
    }

    fn request(&self) -> Request<'_> {
        Request::plain(&self.message)
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Hello>, Error> {
        match answer {
            Message::Hello(hello) if hello.key > 0 => Ok(Some(hello)),
            Message::Reply(reply) if reply.error() == Some(Errno::PROTO) => {
                Err(Error::Version1 { attempt: place.attempt(self.operation()) })
            }
            other => Err(place.unexpected(self.operation(), other)),
        }
    }
}

impl Place<'_> {
    fn read(&self, operation: Operation, answer: Message<OwnedFd>) -> Result<Answer, Error> {
        self.extended(operation, answer, Answer::from_extended)
    }
}

fn sealed(asked: Asked) -> Sealed {
    Sealed::new::<OwnedFd>(asked.into_extended())
}

/// Whether a page is of this tag, and each of its entries behind the one before.
fn goes_on(tag: Option<Tag>, after: Option<Slot>, page: &[Listed]) -> bool {
    let slots = page.iter().map(|entry| Some(entry.slot));
    let before = std::iter::once(after).chain(slots.clone());
    before.zip(slots).all(|(before, slot)| before < slot)
        && page.iter().all(|entry| tag.is_none_or(|tag| entry.slot.tag == tag))
}
