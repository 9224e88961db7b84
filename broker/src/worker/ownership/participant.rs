//! A session, as far as the ownership of tags goes: who it is, what it has at stake, and what it is
//! to be told.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fdbroker_wire::Tag;
use fdbroker_wire::claim::What;
use tokio::time::Instant;

use super::events::{EventQueue, News, Other};
use crate::process_number;
use crate::worker::identity::Identity;

/// Of how many tags a session may have something at stake, or news that it has not read.
const MANY_TAGS: usize = 64;

/// One session.
pub(crate) struct Participant {
    pub(crate) id: u64,
    pub(crate) identity: Rc<Identity>,
    pub(crate) events: EventQueue,
    process_number: Option<u64>,
    stakes: RefCell<BTreeMap<Tag, Interest>>,
}

/// What a session that has said CLAIM has to do with a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// It claims it.
    Claims {
        /// And owned it, until another was ready.
        overtaken: bool,
    },
    /// It owns it, and wants to be told when somebody claims it.
    Owns,
    /// It owned it, until another was ready.
    Overtaken,
}

impl Participant {
    pub(crate) fn new(id: u64, identity: Rc<Identity>) -> Self {
        let nameless = identity.process.as_ref().filter(|_| identity.pid == 0);
        let process_number = nameless.and_then(process_number::number);
        let (events, stakes) = (EventQueue::default(), RefCell::default());
        Self { id, identity, events, process_number, stakes }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.identity.pid
    }

    /// What tells its process from every other, if that has no pid here: see [`process_number`].
    pub(crate) fn process_number(&self) -> Option<u64> {
        self.process_number
    }

    pub(crate) fn as_other(&self) -> Other {
        Other { pid: self.identity.pid, uid: self.identity.uid.0 }
    }

    /// Returns the session's interest in a tag, by what it said; `None` if it never claimed
    /// anything.
    pub(crate) fn interest(&self, tag: Tag) -> Option<Interest> {
        let stakes = self.stakes.borrow();
        if stakes.is_empty() { None } else { stakes.get(&tag).copied() }
    }

    /// Whether another has taken the tag over from it, and it has not got it back.
    pub(crate) fn is_overtaken(&self, tag: Tag) -> bool {
        matches!(
            self.interest(tag),
            Some(Interest::Overtaken | Interest::Claims { overtaken: true })
        )
    }

    /// Whether anything may happen that it is to be told.
    pub(crate) fn listens(&self) -> bool {
        !self.stakes.borrow().is_empty() || !self.events.is_empty()
    }

    /// It claims the tag from now on.
    pub(crate) fn claims(&self, tag: Tag) {
        self.set(tag, Interest::Claims { overtaken: self.is_overtaken(tag) });
    }

    /// It claims the tag no more.
    pub(crate) fn claims_no_more(&self, tag: Tag) {
        match self.is_overtaken(tag) {
            true => self.set(tag, Interest::Overtaken),
            false => self.forget(tag),
        }
    }

    pub(crate) fn set(&self, tag: Tag, interest: Interest) {
        self.stakes.borrow_mut().insert(tag, interest);
    }

    pub(crate) fn forget(&self, tag: Tag) {
        self.stakes.borrow_mut().remove(&tag);
    }

    /// Whether it may claim this tag beside what it has at stake already.
    pub(crate) fn has_room_for(&self, tag: Tag) -> bool {
        let mut tags: BTreeSet<Tag> = self.events.tags().into_iter().collect();
        tags.extend(self.stakes.borrow().keys());
        tags.contains(&tag) || tags.len() < MANY_TAGS
    }

    /// Queues an event for the session.
    pub(crate) fn tell(
        &self,
        tag: Tag,
        what: What,
        claim: i32,
        other: Other,
        due: Option<Instant>,
    ) {
        self.events.push(tag, News { what, claim, other, due });
    }
}
