//! What a broker of version 2 can be asked besides: names, listings, and how it is doing.
//!
//! HEL is said once on each connection, before the first of these requests. A broker that
//! does not know it is told apart as [`Error::Version1`], and goes on serving version 1.

use fdbroker_wire::version2::{Entry as Listed, Found};
use fdbroker_wire::{Slot, Tag};

use crate::question::version2::{Find, Greet, List, Operate};
use crate::{Broker, Error, Operation};

impl Broker {
    /// Asks what a name means: a resource's name, `tagname/7`, `7/3`, or a tag's name alone.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such name, or nothing there that this process has a
    /// right on: which of the two is not told. [`Error::BadName`] for what is no name.
    pub fn find(&mut self, name: &str) -> Result<Found, Error> {
        self.run(Find::new(name))
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
        self.run(List::new(tag))
    }

    /// Has the broker read its policy again, and gives what it says about that. Needs the right
    /// `operate`.
    ///
    /// # Errors
    /// [`Error::Reported`] when the new policy does not hold, with its findings; the old one
    /// goes on. [`Error::Refused`] without the right.
    pub fn reload(&mut self) -> Result<String, Error> {
        self.run(Operate::reload())
    }

    /// Deletes a deposit that no rule reaches, whoever left it there; none stands for every one that no
    /// rule reaches. Gives what the broker says about it. Needs the right `operate`. When the
    /// broker is restarted meanwhile, what it says is about what was left to delete.
    ///
    /// # Errors
    /// [`Error::Absent`] or [`Error::Reported`] when there is nothing to delete in that slot;
    /// [`Error::Refused`] without the right.
    pub fn purge(&mut self, slot: Option<Slot>) -> Result<String, Error> {
        self.run(Operate::purge(slot))
    }

    /// Asks how the broker is doing, in sentences for people. Needs the right `operate`.
    ///
    /// # Errors
    /// [`Error::Refused`] without the right.
    pub fn status(&mut self) -> Result<String, Error> {
        self.run(Operate::status())
    }

    /// Asks for the broker's instance number, which is another one after each start of it.
    ///
    /// # Errors
    /// [`Error::Version1`], or what may happen to every request.
    pub fn instance(&mut self) -> Result<i64, Error> {
        self.run(Greet::new(Operation::Instance)).map(|hello| hello.key)
    }
}
