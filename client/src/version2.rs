//! What a broker of version 2 can be asked besides: names, listings, and how it is doing.
//!
//! HEL is said once on each connection, before the first of these requests. A broker that
//! does not know it is told apart as [`Error::Version1`], and goes on serving version 1.

use std::os::fd::OwnedFd;

use fdbroker_wire::version2::{
    self, Answer, Entry as Listed, Features, Found, Name, Report, Request as Asked,
};
use fdbroker_wire::{Errno, Extended, Hello, Message, Reply, Slot, Tag, hello};

use crate::broker::{Trouble, Version, starting};
use crate::transfer::Request;
use crate::{Broker, Error, Feature, Operation};

impl Broker {
    /// Asks what a name means: a resource's name, `tagname/7`, `7/3`, or a tag's name alone.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such name, or nothing there that this process has a
    /// right on: which of the two is not told. [`Error::BadName`] for what is no name.
    pub fn find(&mut self, name: &str) -> Result<Found, Error> {
        let operation = Operation::Find(name.into());
        let Some(name) = Name::new(name) else {
            return Err(Error::BadName { attempt: self.attempt(&operation) });
        };
        match self.ask_version2(&operation, Feature::Listing, Asked::Find(name))? {
            Answer::Found(found) => Ok(found),
            _ => Err(self.nonsense(&operation)),
        }
    }

    /// Asks which slots there are, of one tag or of all: those that this process has the right
    /// `list` on, in the order of tag and index. Whether there are others is not told.
    ///
    /// A long listing comes in several answers, and what changes meanwhile may be in it or not.
    ///
    /// # Errors
    /// [`Error::Version1`], or what may happen to every request. That there is nothing to list
    /// is no error.
    pub fn list(&mut self, tag: Option<Tag>) -> Result<Vec<Listed>, Error> {
        let operation = Operation::List(tag);
        let mut listed: Vec<Listed> = Vec::new();
        loop {
            let after = listed.last().map(|entry| entry.slot);
            let asked = Asked::List { tag, after };
            let Answer::Listing(page) = self.ask_version2(&operation, Feature::Listing, asked)?
            else {
                return Err(self.nonsense(&operation));
            };
            let more = page.more();
            let page = page.into_entries();
            if !goes_on(tag, after, &page) || (more && page.is_empty()) {
                return Err(self.protocol(&operation, "the listing is out of order"));
            }
            listed.extend(page);
            if !more {
                return Ok(listed);
            }
        }
    }

    /// Has the broker read its policy again, and gives what it says about that. Needs the right
    /// `operate`.
    ///
    /// # Errors
    /// [`Error::Reported`] when the new policy does not hold, with its findings; the old one
    /// goes on. [`Error::Refused`] without the right.
    pub fn reload(&mut self) -> Result<String, Error> {
        self.operate(&Operation::Reload, Asked::Reload)
    }

    /// Deletes a deposit that no rule reaches, whoever left it there; none stands for every one that no
    /// rule reaches. Gives what the broker says about it. Needs the right `operate`. When the
    /// broker is restarted meanwhile, what it says is about what was left to delete.
    ///
    /// # Errors
    /// [`Error::Absent`] or [`Error::Reported`] when there is nothing to delete in that slot;
    /// [`Error::Refused`] without the right.
    pub fn purge(&mut self, slot: Option<Slot>) -> Result<String, Error> {
        self.operate(&Operation::Purge(slot), Asked::Purge(slot))
    }

    /// Asks how the broker is doing, in sentences for people. Needs the right `operate`.
    ///
    /// # Errors
    /// [`Error::Refused`] without the right.
    pub fn status(&mut self) -> Result<String, Error> {
        self.operate(&Operation::Status, Asked::Status)
    }

    /// Asks for the broker's instance number, which is another one after each start of it.
    ///
    /// # Errors
    /// [`Error::Version1`], or what may happen to every request.
    pub fn instance(&mut self) -> Result<i64, Error> {
        let operation = Operation::Instance;
        let answer = self.ask(&operation, Request::plain(&greeting()), Version::One)?;
        Ok(self.welcomed(&operation, answer.message)?.key)
    }

    fn operate(&mut self, operation: &Operation, asked: Asked) -> Result<String, Error> {
        match self.ask_version2(operation, Feature::Operate, asked)? {
            Answer::Report(Report { error: None, text }) => Ok(text),
            Answer::Report(Report { error: Some(errno), text }) => {
                Err(Error::Reported { attempt: self.attempt(operation), errno, text })
            }
            _ => Err(self.nonsense(operation)),
        }
    }

    /// Asks on a connection on which HEL has been said.
    fn ask_version2(
        &mut self,
        operation: &Operation,
        feature: Feature,
        asked: Asked,
    ) -> Result<Answer, Error> {
        let message: Extended<OwnedFd> = asked.into_extended();
        let request = Request { head: &message.head(), payload: &message.body, descriptors: &[] };
        match self.ask(operation, request, Version::Two(feature))?.message {
            Message::Extended(answer) => Answer::from_extended(answer)
                .map_err(|fault| self.protocol(operation, fault.reason)),
            Message::Reply(reply) => Err(self.failed(operation, reply)),
            _ => Err(self.nonsense(operation)),
        }
    }

    /// Says HEL on a connection on which it has not been said, and looks for a feature among
    /// what it was granted. Gives the answer of a broker that is starting or stopping, and is
    /// to be asked again.
    pub(crate) fn greet(
        &mut self,
        operation: &Operation,
        feature: Feature,
    ) -> Result<Option<Reply>, Trouble> {
        self.open(operation).map_err(Trouble::of_connecting)?;
        if self.connection.features().is_none() {
            match self
                .exchange(operation, Request::plain(&greeting()))
                .map_err(Trouble::harmless)?
            {
                Message::Reply(reply) if starting(&reply) => return Ok(Some(reply)),
                message => {
                    self.welcomed(operation, message).map_err(Trouble::Lasting)?;
                }
            }
        }
        self.check_granted(operation, feature).map(|()| None).map_err(Trouble::Lasting)
    }

    fn check_granted(&self, operation: &Operation, feature: Feature) -> Result<(), Error> {
        let granted = self.connection.features().unwrap_or_default();
        match granted.contains(feature.flag()) {
            true => Ok(()),
            false => Err(Error::Unserved { attempt: self.attempt(operation), feature }),
        }
    }

    /// What was answered to HEL.
    fn welcomed(
        &mut self,
        operation: &Operation,
        message: Message<OwnedFd>,
    ) -> Result<Hello, Error> {
        match message {
            Message::Hello(hello) if hello.key > 0 => Ok(hello),
            Message::Reply(reply) if reply.error() == Some(Errno::PROTO) => {
                Err(Error::Version1 { attempt: self.attempt(operation) })
            }
            Message::Reply(reply) => Err(self.failed(operation, reply)),
            _ => Err(self.nonsense(operation)),
        }
    }
}

fn greeting() -> [u8; 16] {
    hello(version2::greeting(Features::ALL))
}

/// Whether a page is of this tag, and each of its entries behind the one before.
fn goes_on(tag: Option<Tag>, after: Option<Slot>, page: &[Listed]) -> bool {
    let slots = page.iter().map(|entry| Some(entry.slot));
    let before = std::iter::once(after).chain(slots.clone());
    before.zip(slots).all(|(before, slot)| before < slot)
        && page.iter().all(|entry| tag.is_none_or(|tag| entry.slot.tag == tag))
}
