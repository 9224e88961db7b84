//! Many slots of a tag at once: as many as one likes, split into messages of up to 253 slots.
//!
//! Each slot has an outcome of its own. A message that has to be repeated since the broker was
//! restarted counts as the single requests of [`Broker`] do.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use fdbroker_wire::many::{self, DEPOSIT_HEAD, ManyAnswer, ManyRequest, ROOM};
use fdbroker_wire::{Errno, Index, MAX_DESCRIPTORS, MAX_PAYLOAD, Message, Slot, Tag};

use crate::broker::Version;
use crate::transfer::Request;
use crate::{Broker, Deposit, Error, Feature, Operation};

/// A deposit to be made, among many of its tag.
#[derive(Clone, Copy, Debug)]
pub struct NewDeposit<'a> {
    /// Where.
    pub index: Index,
    /// Its descriptor, if it has one; its number here becomes the deposit's.
    pub descriptor: Option<BorrowedFd<'a>>,
    /// Its bytes, at most [`MAX_PAYLOAD`].
    pub payload: &'a [u8],
}

/// What was got of many slots, in the order in which they were asked for.
pub type ManyDeposits = Vec<(Index, Result<Deposit, Error>)>;

impl Broker {
    /// Gets what is in many slots; it stays there.
    ///
    /// # Errors
    /// What may happen to every request, for all of them; each slot may be refused or absent by
    /// itself.
    pub fn get_many(&mut self, tag: Tag, indices: &[Index]) -> Result<ManyDeposits, Error> {
        self.get_all(tag, indices, false)
    }

    /// Gets what is in many slots, and deletes it there: in one step for everybody else, once the
    /// answer has been sent. What was not got is still there.
    ///
    /// # Errors
    /// As [`Broker::get_many`]; each slot takes the rights of a get and of a delete.
    pub fn take_many(&mut self, tag: Tag, indices: &[Index]) -> Result<ManyDeposits, Error> {
        self.get_all(tag, indices, true)
    }

    fn get_all(&mut self, tag: Tag, indices: &[Index], take: bool) -> Result<ManyDeposits, Error> {
        let mut got = Vec::with_capacity(indices.len());
        while got.len() < indices.len() {
            let rest = &indices[got.len()..];
            let asked = rest[..rest.len().min(MAX_DESCRIPTORS)].to_vec();
            let operation = if take { Operation::TakeMany(tag) } else { Operation::GetMany(tag) };
            let question = ManyRequest::<OwnedFd>::Get { tag, indices: asked, take };
            let ManyAnswer::Got { tag: of, outcomes } = self.ask_many(&operation, question, &[])?
            else {
                return Err(self.nonsense(&operation));
            };
            let in_order = outcomes
                .iter()
                .map(place)
                .eq(rest[..outcomes.len().min(rest.len())].iter().copied());
            if of != tag || !in_order {
                return Err(self.nonsense(&operation));
            }
            got.extend(outcomes.into_iter().map(|outcome| self.found(tag, outcome, take)));
        }
        Ok(got)
    }

    fn found(
        &self,
        tag: Tag,
        outcome: many::Outcome<OwnedFd>,
        take: bool,
    ) -> (Index, Result<Deposit, Error>) {
        let operation = if take { Operation::Take } else { Operation::Get };
        match outcome {
            Ok(many::Deposit { index, ufd, payload, descriptor }) => {
                (index, Ok(Deposit { descriptor, ufd, payload }))
            }
            Err((index, errno)) => {
                (index, Err(self.answered(&operation(Slot { tag, index }), errno)))
            }
        }
    }

    /// Deposits in many slots, each in the place of what it held.
    ///
    /// # Errors
    /// [`Error::TooLarge`] before anything is sent; what may happen to every request, for all of
    /// them; each slot may be refused by itself.
    pub fn add_many(
        &mut self,
        tag: Tag,
        deposits: &[NewDeposit<'_>],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        if let Some(large) = deposits.iter().find(|new| new.payload.len() > MAX_PAYLOAD) {
            let attempt = self.attempt(&Operation::Add(Slot { tag, index: large.index }));
            return Err(Error::TooLarge { attempt, size: large.payload.len() });
        }
        let mut done = Vec::with_capacity(deposits.len());
        while done.len() < deposits.len() {
            let part = fitting(&deposits[done.len()..]);
            let descriptors: Vec<_> = part.iter().filter_map(|new| new.descriptor).collect();
            let question = ManyRequest::Add { tag, deposits: part.iter().map(entry).collect() };
            let operation = Operation::AddMany(tag);
            let outcomes = self.done_many(&operation, tag, question, &descriptors, part.len())?;
            let slots = part.iter().map(|new| Operation::Add(Slot { tag, index: new.index }));
            done.extend(slots.zip(outcomes).map(|(slot, outcome)| self.outcome(&slot, outcome)));
        }
        Ok(done)
    }

    /// Deletes what is in many slots.
    ///
    /// # Errors
    /// What may happen to every request, for all of them; each slot may be refused or absent by
    /// itself.
    pub fn del_many(
        &mut self,
        tag: Tag,
        indices: &[Index],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let mut done = Vec::with_capacity(indices.len());
        for part in indices.chunks(MAX_DESCRIPTORS) {
            let question = ManyRequest::<OwnedFd>::Del { tag, indices: part.to_vec() };
            let operation = Operation::DelMany(tag);
            let outcomes = self.done_many(&operation, tag, question, &[], part.len())?;
            let slots = part.iter().map(|index| Operation::Del(Slot { tag, index: *index }));
            done.extend(slots.zip(outcomes).map(|(slot, outcome)| self.outcome(&slot, outcome)));
        }
        Ok(done)
    }

    fn done_many<F>(
        &mut self,
        operation: &Operation,
        tag: Tag,
        question: ManyRequest<F>,
        descriptors: &[BorrowedFd<'_>],
        number: usize,
    ) -> Result<Vec<Result<(), Errno>>, Error> {
        match self.ask_many(operation, question, descriptors)? {
            ManyAnswer::Done { tag: of, outcomes } if of == tag && outcomes.len() == number => {
                Ok(outcomes)
            }
            _ => Err(self.nonsense(operation)),
        }
    }

    fn ask_many<F>(
        &mut self,
        operation: &Operation,
        question: ManyRequest<F>,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<ManyAnswer<OwnedFd>, Error> {
        let message = question.into_extended();
        let request = Request { head: &message.head(), payload: &message.body, descriptors };
        match self.ask(operation, request, Version::Two(Feature::Many))?.message {
            Message::Extended(answer) => ManyAnswer::from_extended(answer)
                .map_err(|fault| self.protocol(operation, fault.reason)),
            Message::Reply(reply) => Err(self.failed(operation, reply)),
            _ => Err(self.nonsense(operation)),
        }
    }

    fn outcome(&self, operation: &Operation, outcome: Result<(), Errno>) -> Result<(), Error> {
        outcome.map_err(|errno| self.answered(operation, errno))
    }

    /// What the broker said no to, one slot among many: it has no words for each.
    fn answered(&self, operation: &Operation, errno: Errno) -> Error {
        Error::answered(self.attempt(operation), errno, String::new())
    }
}

fn place<F>(outcome: &many::Outcome<F>) -> Index {
    match outcome {
        Ok(deposit) => deposit.index,
        Err((index, _)) => *index,
    }
}

/// As many from the front as one message has room for; at least one.
fn fitting<'s, 'a>(deposits: &'s [NewDeposit<'a>]) -> &'s [NewDeposit<'a>] {
    let mut room = ROOM;
    let fits = deposits.iter().take(MAX_DESCRIPTORS).take_while(|new| {
        let size = DEPOSIT_HEAD + new.payload.len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    let number = fits.count().max(1);
    &deposits[..number]
}

fn entry<'a>(new: &NewDeposit<'a>) -> many::Deposit<BorrowedFd<'a>> {
    many::Deposit {
        index: new.index,
        ufd: new.descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd()),
        payload: new.payload.to_vec(),
        descriptor: new.descriptor,
    }
}
