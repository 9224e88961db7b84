//! What was tried, and where, as errors name it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use fdbroker_types::quoted;
use fdbroker_wire::version2::{Features, Inspected};
use fdbroker_wire::{Slot, Tag};

/// What was tried, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// What.
    pub operation: Operation,
    /// The broker's socket.
    pub socket: Arc<Path>,
}

/// What a client asks of a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Connecting.
    Connect,
    /// Depositing into a slot.
    Add(Slot),
    /// Getting what is in a slot.
    Get(Slot),
    /// Deleting what is in a slot.
    Del(Slot),
    /// Asking how much a tag holds.
    Tag(Tag),
    /// Asking what a name means.
    Find(Arc<str>),
    /// Asking which slots there are, of a tag or of all.
    List(Option<Tag>),
    /// Having the policy read again.
    Reload,
    /// Deleting a deposit that no rule reaches, or all of those.
    Purge(Option<Slot>),
    /// Asking how the broker is doing.
    Status,
    /// Asking who has what on terms.
    Leases,
    /// Asking for all that there is of one sort.
    Inspect(Inspected),
    /// Ending a lease, by its number.
    EndLease(u64),
    /// Asking for the broker's instance number.
    Instance,
    /// Getting or taking what is in many slots of a tag.
    GetMany(Tag),
    /// Depositing into many slots of a tag.
    AddMany(Tag),
    /// Deleting what is in many slots of a tag.
    DelMany(Tag),
    /// Getting and deleting what is in a slot.
    Take(Slot),
    /// Getting and deleting what is in many slots of a tag.
    TakeMany(Tag),
    /// Claiming a tag.
    Claim(Tag),
    /// Releasing a tag to its claimant.
    Release(Tag),
    /// Being ready to own a tag.
    Ready(Tag),
    /// Giving up a claim, or a tag.
    Withdraw(Tag),
    /// Waiting for an event.
    Event,
    /// Sending and receiving, whatever it was.
    Process,
}

/// A part of version 2 of the protocol, which a broker serves or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Feature {
    /// Names and listings.
    Listing,
    /// Operating the broker.
    Operate,
    /// Many slots in one message.
    Many,
    /// Claims of tags, and their events.
    Claim,
    /// Seeing all that the broker has.
    Inspect,
}

impl Feature {
    /// As HEL has it.
    pub(crate) const fn flag(self) -> Features {
        match self {
            Self::Listing => Features::LISTING,
            Self::Operate => Features::OPERATE,
            Self::Many => Features::MANY,
            Self::Claim => Features::CLAIM,
            Self::Inspect => Features::INSPECT,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the broker at {}", self.operation, quoted(&*self.socket))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Add(slot) => write!(f, "add {slot}"),
            Self::Get(slot) => write!(f, "get {slot}"),
            Self::Del(slot) => write!(f, "del {slot}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Find(name) => write!(f, "find {name}", name = quoted(&**name)),
            Self::List(Some(tag)) => write!(f, "list {tag}"),
            Self::List(None) => f.write_str("list"),
            Self::Reload => f.write_str("reload"),
            Self::Purge(Some(slot)) => write!(f, "purge {slot}"),
            Self::Purge(None) => f.write_str("purge of what no rule reaches"),
            Self::Status => f.write_str("status"),
            Self::Leases => f.write_str("leases"),
            Self::Inspect(Inspected::Slots) => f.write_str("inspection of the slots"),
            Self::Inspect(Inspected::Sessions) => f.write_str("inspection of the sessions"),
            Self::Inspect(Inspected::Users) => f.write_str("inspection of the users"),
            Self::EndLease(number) => write!(f, "end of lease {number}"),
            Self::Instance => f.write_str("instance"),
            Self::GetMany(tag) => write!(f, "get {tag}/*"),
            Self::AddMany(tag) => write!(f, "add {tag}/*"),
            Self::DelMany(tag) => write!(f, "del {tag}/*"),
            Self::Take(slot) => write!(f, "take {slot}"),
            Self::TakeMany(tag) => write!(f, "take {tag}/*"),
            Self::Claim(tag) => write!(f, "claim {tag}"),
            Self::Release(tag) => write!(f, "release {tag}"),
            Self::Ready(tag) => write!(f, "ready {tag}"),
            Self::Withdraw(tag) => write!(f, "withdraw {tag}"),
            Self::Event => f.write_str("event"),
            Self::Process => f.write_str("process"),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listing => "names and listings (LISTING)",
            Self::Operate => "operators (OPERATE)",
            Self::Inspect => "inspection (INSPECT)",
            Self::Many => "many slots in one message (MANY)",
            Self::Claim => "claims (CLAIM)",
        })
    }
}

impl Operation {
    /// Whether it can have to wait for a session that holds the tag.
    pub(super) fn waits_for_a_tag(&self) -> bool {
        matches!(self, Self::Get(_) | Self::GetMany(_) | Self::Tag(_)) || self.changes()
    }

    /// Whether it changes what is in a slot.
    pub(super) fn changes(&self) -> bool {
        matches!(
            self,
            Self::Add(_)
                | Self::Del(_)
                | Self::Take(_)
                | Self::AddMany(_)
                | Self::DelMany(_)
                | Self::TakeMany(_)
        )
    }
}
