//! Many slots of a tag, in as many messages as it takes.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use fdbroker_wire::many::{self, DEPOSIT_HEAD, ManyAnswer, ManyRequest, ROOM};
use fdbroker_wire::{Errno, Index, MAX_DESCRIPTORS, MAX_PAYLOAD, Message, Slot, Tag};

use crate::question::{Place, Question, Sealed};
use crate::transfer::Request;
use crate::{Deposit, Error, Feature, ManyDeposits, NewDeposit, Operation};

/// GET_MANY.
#[derive(Debug)]
pub(crate) struct GetMany {
    tag: Tag,
    indices: Vec<Index>,
    take: bool,
    message: Sealed,
    got: ManyDeposits,
}

/// ADD_MANY.
#[derive(Debug)]
pub(crate) struct AddMany<'a> {
    tag: Tag,
    deposits: &'a [NewDeposit<'a>],
    message: Sealed,
    descriptors: Vec<BorrowedFd<'a>>,
    /// How many of them the message has.
    asked: usize,
    done: Vec<Result<(), Error>>,
}

/// DEL_MANY.
#[derive(Debug)]
pub(crate) struct DelMany {
    tag: Tag,
    indices: Vec<Index>,
    message: Sealed,
    done: Vec<Result<(), Error>>,
}

impl GetMany {
    pub(crate) fn new(tag: Tag, indices: &[Index], take: bool) -> Self {
        let message = Self::asking(tag, indices, take);
        Self { tag, indices: indices.to_vec(), take, message, got: Vec::new() }
    }

    fn asking(tag: Tag, rest: &[Index], take: bool) -> Sealed {
        let indices = rest[..rest.len().min(MAX_DESCRIPTORS)].to_vec();
        Sealed::new(ManyRequest::<OwnedFd>::Get { tag, indices, take }.into_extended())
    }

    fn found(
        &self,
        outcome: many::Outcome<OwnedFd>,
        place: &Place<'_>,
    ) -> (Index, Result<Deposit, Error>) {
        let operation = if self.take { Operation::Take } else { Operation::Get };
        match outcome {
            Ok(many::Deposit { index, ufd, payload, descriptor }) => {
                (index, Ok(Deposit { descriptor, ufd, payload: payload.into_vec() }))
            }
            Err((index, errno)) => {
                (index, Err(place.refused(operation(Slot { tag: self.tag, index }), errno)))
            }
        }
    }
}

impl Question for GetMany {
    type Outcome = ManyDeposits;

    fn operation(&self) -> Operation {
        let operation = if self.take { Operation::TakeMany } else { Operation::GetMany };
        operation(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Many)
    }

    fn known(&self, _place: &Place<'_>) -> Result<Option<ManyDeposits>, Error> {
        Ok(self.indices.is_empty().then(Vec::new))
    }

    fn request(&self) -> Request<'_> {
        self.message.request()
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<ManyDeposits>, Error> {
        let ManyAnswer::Got { tag, outcomes } = place.read_many(self.operation(), answer)? else {
            return Err(place.nonsense(self.operation()));
        };
        let rest = &self.indices[self.got.len()..];
        let in_order = outcomes.iter().map(index).eq(rest.iter().take(outcomes.len()).copied());
        if tag != self.tag || !in_order || outcomes.is_empty() {
            return Err(place.nonsense(self.operation()));
        }
        let found: Vec<_> =
            outcomes.into_iter().map(|outcome| self.found(outcome, place)).collect();
        self.got.extend(found);
        if self.got.len() == self.indices.len() {
            return Ok(Some(std::mem::take(&mut self.got)));
        }
        self.message = Self::asking(self.tag, &self.indices[self.got.len()..], self.take);
        Ok(None)
    }
}

impl<'a> AddMany<'a> {
    pub(crate) fn new(tag: Tag, deposits: &'a [NewDeposit<'a>]) -> Self {
        let (message, descriptors, asked) = Self::asking(tag, deposits);
        Self { tag, deposits, message, descriptors, asked, done: Vec::new() }
    }

    fn asking(tag: Tag, rest: &'a [NewDeposit<'a>]) -> (Sealed, Vec<BorrowedFd<'a>>, usize) {
        let part = fitting(rest);
        let request = ManyRequest::Add { tag, deposits: part.iter().map(entry).collect() };
        let descriptors = part.iter().filter_map(|new| new.descriptor).collect();
        (Sealed::new(request.into_extended()), descriptors, part.len())
    }
}

impl Question for AddMany<'_> {
    type Outcome = Vec<Result<(), Error>>;

    fn operation(&self) -> Operation {
        Operation::AddMany(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Many)
    }

    fn known(&self, place: &Place<'_>) -> Result<Option<Self::Outcome>, Error> {
        let large = self.deposits.iter().find(|new| new.payload.len() > MAX_PAYLOAD);
        if let Some(NewDeposit { index, payload, .. }) = large {
            let operation = Operation::Add(Slot { tag: self.tag, index: *index });
            return Err(Error::TooLarge { attempt: place.attempt(operation), size: payload.len() });
        }
        Ok(self.deposits.is_empty().then(Vec::new))
    }

    fn request(&self) -> Request<'_> {
        Request { descriptors: &self.descriptors, ..self.message.request() }
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Self::Outcome>, Error> {
        let outcomes = place.read_done(self.operation(), answer, self.tag, self.asked)?;
        for outcome in outcomes {
            let operation =
                Operation::Add(Slot { tag: self.tag, index: self.deposits[self.done.len()].index });
            self.done.push(outcome.map_err(|errno| place.refused(operation, errno)));
        }
        if self.done.len() == self.deposits.len() {
            return Ok(Some(std::mem::take(&mut self.done)));
        }
        (self.message, self.descriptors, self.asked) =
            Self::asking(self.tag, &self.deposits[self.done.len()..]);
        Ok(None)
    }
}

impl DelMany {
    pub(crate) fn new(tag: Tag, indices: &[Index]) -> Self {
        let message = Self::asking(tag, indices);
        Self { tag, indices: indices.to_vec(), message, done: Vec::new() }
    }

    fn asking(tag: Tag, rest: &[Index]) -> Sealed {
        let indices = rest[..rest.len().min(MAX_DESCRIPTORS)].to_vec();
        Sealed::new(ManyRequest::<OwnedFd>::Del { tag, indices }.into_extended())
    }
}

impl Question for DelMany {
    type Outcome = Vec<Result<(), Error>>;

    fn operation(&self) -> Operation {
        Operation::DelMany(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Many)
    }

    fn known(&self, _place: &Place<'_>) -> Result<Option<Self::Outcome>, Error> {
        Ok(self.indices.is_empty().then(Vec::new))
    }

    fn request(&self) -> Request<'_> {
        self.message.request()
    }

    fn hear(
        &mut self,
        answer: Message<OwnedFd>,
        place: &Place<'_>,
    ) -> Result<Option<Self::Outcome>, Error> {
        let asked = (self.indices.len() - self.done.len()).min(MAX_DESCRIPTORS);
        let outcomes = place.read_done(self.operation(), answer, self.tag, asked)?;
        for outcome in outcomes {
            let operation =
                Operation::Del(Slot { tag: self.tag, index: self.indices[self.done.len()] });
            self.done.push(outcome.map_err(|errno| place.refused(operation, errno)));
        }
        if self.done.len() == self.indices.len() {
            return Ok(Some(std::mem::take(&mut self.done)));
        }
        self.message = Self::asking(self.tag, &self.indices[self.done.len()..]);
        Ok(None)
    }
}

impl Place<'_> {
    fn read_many(
        &self,
        operation: Operation,
        answer: Message<OwnedFd>,
    ) -> Result<ManyAnswer<OwnedFd>, Error> {
        self.extended(operation, answer, ManyAnswer::from_extended)
    }

    /// As many outcomes as were asked for.
    fn read_done(
        &self,
        operation: Operation,
        answer: Message<OwnedFd>,
        tag: Tag,
        asked: usize,
    ) -> Result<Vec<Result<(), Errno>>, Error> {
        match self.read_many(operation.clone(), answer)? {
            ManyAnswer::Done { tag: of, outcomes } if of == tag && outcomes.len() == asked => {
                Ok(outcomes)
            }
            _ => Err(self.nonsense(operation)),
        }
    }
}

fn index<F>(outcome: &many::Outcome<F>) -> Index {
    match outcome {
        Ok(deposit) => deposit.index,
        Err((index, _)) => *index,
    }
}

/// As many from the front as one message has room for; at least one, where there is one.
fn fitting<'s, 'a>(deposits: &'s [NewDeposit<'a>]) -> &'s [NewDeposit<'a>] {
    let mut room = ROOM;
    let fits = deposits.iter().take(MAX_DESCRIPTORS).take_while(|new| {
        let size = DEPOSIT_HEAD + new.payload.len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    let number = fits.count().max(1).min(deposits.len());
    &deposits[..number]
}

fn entry<'a>(new: &NewDeposit<'a>) -> many::Deposit<BorrowedFd<'a>, &'a [u8]> {
    many::Deposit {
        index: new.index,
        ufd: new.descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd()),
        payload: new.payload,
        descriptor: new.descriptor,
    }
}
