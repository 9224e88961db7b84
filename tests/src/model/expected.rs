//! What a request must come to, and what was answered in the same form.

use std::os::fd::OwnedFd;

use fdbroker_wire::claim::{Claimed, State};
use fdbroker_wire::many::{Deposit, ManyAnswer};
use fdbroker_wire::version2::{Answer, Found};
use fdbroker_wire::{Errno, Extended, Message};
use rustix::fs::fstat;

use crate::Place;

/// The deposit of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who deposited it. Nobody is told.
    pub owner: u32,
    /// The bytes.
    pub payload: Vec<u8>,
    /// The inode of the file, where there is one.
    pub file: Option<u64>,
}

/// What is given of a slot: the payload, and the inode of the file.
pub type Given = (Vec<u8>, Option<u64>);

/// An answer; or what must be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// REP with an error, or 0.
    Reply(i32),
    /// The deposit of a slot: payload and file.
    Deposit(Vec<u8>, Option<u64>),
    /// INF.
    Info(i32, i32),
    /// GOT_MANY: for each slot its deposit, or the error.
    Got(Vec<Result<Given, i32>>),
    /// DONE_MANY.
    DoneMany(Vec<i32>),
    /// LISTING: slot, whether it is a resource, whether there is a file.
    Listing(Vec<(Place, bool, bool)>),
    /// FOUND.
    Found(i16, Option<i32>),
    /// CLAIMED.
    Claimed(State),
    /// Nothing: the request would wait for its turn.
    Waits,
}

/// The number that every file is said to have had.
const UFD: i32 = 7;

impl Held {
    /// The number of its descriptor where it was deposited.
    pub fn ufd(&self) -> i32 {
        if self.file.is_some() { UFD } else { -1 }
    }
}

impl Expected {
    /// Reads an answer.
    ///
    /// # Panics
    /// When it is none, or does not say what belongs together.
    pub fn of(message: Message<OwnedFd>) -> Self {
        match message {
            Message::Reply(reply) => Self::Reply(-i32::from(reply.rc)),
            Message::Add(add) => deposit(add.ufd, add.payload.into_vec(), add.descriptor),
            Message::Info(info) => Self::Info(info.used, info.total),
            Message::Extended(message) => Self::of_extended(message),
            other => panic!("no answer: {other:?}"),
        }
    }

    fn of_extended(message: Extended<OwnedFd>) -> Self {
        if ManyAnswer::<OwnedFd>::is(message.op) {
            return match ManyAnswer::from_extended(message).expect("it is well formed") {
                ManyAnswer::Got { outcomes, .. } => {
                    let outcomes = outcomes.into_iter().map(|outcome| match outcome {
                        Ok(Deposit { ufd, payload, descriptor, .. }) => {
                            Ok(parts(ufd, payload.into_vec(), descriptor))
                        }
                        Err((_, errno)) => Err(number(errno)),
                    });
                    Self::Got(outcomes.collect())
                }
                ManyAnswer::Done { outcomes, .. } => {
                    let numbers = outcomes.into_iter().map(|it| it.err().map_or(0, number));
                    Self::DoneMany(numbers.collect())
                }
            };
        }
        let op = message.op;
        if op == fdbroker_wire::opcode::CLAIMED {
            return Self::Claimed(Claimed::from_extended(message).expect("it is CLAIMED").state);
        }
        match Answer::from_extended(message).expect("it is an answer") {
            Answer::Found(Found::Slot(slot) | Found::Resource(slot)) => {
                Self::Found(slot.tag.get(), Some(slot.index.get()))
            }
            Answer::Found(Found::Tag(tag)) => Self::Found(tag.get(), None),
            Answer::Listing(listing) => {
                assert!(!listing.more(), "so few slots fit");
                let entries = listing.entries().iter().map(|entry| {
                    assert_eq!(
                        (entry.owner, entry.payload, entry.unreachable),
                        (None, None, false)
                    );
                    let place = (entry.slot.tag.get(), entry.slot.index.get());
                    let file = entry.kind.is_some_and(|kind| kind.name() == "file");
                    (place, entry.resource, file)
                });
                Self::Listing(entries.collect())
            }
            Answer::Report(_) => panic!("nobody asked for a report"),
        }
    }
}

fn number(errno: Errno) -> i32 {
    errno.get().into()
}

fn deposit(ufd: i32, payload: Vec<u8>, descriptor: Option<OwnedFd>) -> Expected {
    let (payload, file) = parts(ufd, payload, descriptor);
    Expected::Deposit(payload, file)
}

fn parts(ufd: i32, payload: Vec<u8>, descriptor: Option<OwnedFd>) -> (Vec<u8>, Option<u64>) {
    assert_eq!(ufd >= 0, descriptor.is_some(), "a number without its descriptor");
    assert!(ufd < 0 || ufd == UFD || ufd == 0, "another number than was given: {ufd}");
    (payload, descriptor.map(|file| fstat(file).expect("it is a file").st_ino))
}
