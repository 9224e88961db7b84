//! Many slots of a tag, in as many messages as it takes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use fdbroker_wire::many::{self, DEPOSIT_HEAD, ManyAnswer, ManyRequest, ROOM};
use fdbroker_wire::{Errno, Index, MAX_DESCRIPTORS, MAX_PAYLOAD, Message, Payload, Slot, Tag};

use crate::core::outgoing::Outgoing;
use crate::request::{AnswerContext, Detach, Encoded, Request};
use crate::{Deposit, Error, Feature, ManyDeposits, NewDeposit, Operation};

/// GET_MANY.
#[derive(Debug)]
pub(crate) struct GetMany {
    tag: Tag,
    indices: Vec<Index>,
    take: bool,
    message: Encoded,
    got: ManyDeposits,
}

/// ADD_MANY. Descriptors and payloads are borrowed from the caller, or its own once detached.
#[derive(Debug)]
pub(crate) struct AddMany<F, P> {
    tag: Tag,
    indices: Vec<Index>,
    /// The first payload that is too large, and its size.
    too_large: Option<(Index, usize)>,
    message: Encoded,
    descriptors: Vec<F>,
    /// How many deposits the message has.
    asked: usize,
    /// The deposits behind it.
    rest: VecDeque<many::Deposit<F, P>>,
    done: Vec<Result<(), Error>>,
}

/// DEL_MANY.
#[derive(Debug)]
pub(crate) struct DelMany {
    tag: Tag,
    indices: Vec<Index>,
    message: Encoded,
    done: Vec<Result<(), Error>>,
}

impl GetMany {
    pub(crate) fn new(tag: Tag, indices: &[Index], take: bool) -> Self {
        let message = Self::asking(tag, indices, take);
        Self { tag, indices: indices.to_vec(), take, message, got: Vec::new() }
    }

    fn asking(tag: Tag, rest: &[Index], take: bool) -> Encoded {
        let indices = rest[..rest.len().min(MAX_DESCRIPTORS)].to_vec();
        Encoded::new(ManyRequest::<OwnedFd>::Get { tag, indices, take }.into_extended())
    }

    fn found(
        &self,
        outcome: many::Outcome<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> (Index, Result<Deposit, Error>) {
        let operation = if self.take { Operation::Take } else { Operation::Get };
        match outcome {
            Ok(many::Deposit { index, ufd, payload, descriptor }) => {
                (index, Ok(Deposit { descriptor, ufd, payload: payload.into_vec() }))
            }
            Err((index, errno)) => {
                (index, Err(context.refused(operation(Slot { tag: self.tag, index }), errno)))
            }
        }
    }
}

impl Request for GetMany {
    type Outcome = ManyDeposits;

    fn operation(&self) -> Operation {
        let operation = if self.take { Operation::TakeMany } else { Operation::GetMany };
        operation(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Many)
    }

    fn known(&self, _context: &AnswerContext<'_>) -> Result<Option<ManyDeposits>, Error> {
        Ok(self.indices.is_empty().then(Vec::new))
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.outgoing()
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<ManyDeposits>, Error> {
        let ManyAnswer::Got { tag, outcomes } = context.read_many(self.operation(), answer)? else {
            return Err(context.nonsense(self.operation()));
        };
        let rest = &self.indices[self.got.len()..];
        let in_order = outcomes.iter().map(index).eq(rest.iter().take(outcomes.len()).copied());
        if tag != self.tag || !in_order || outcomes.is_empty() {
            return Err(context.nonsense(self.operation()));
        }
        let found: Vec<_> =
            outcomes.into_iter().map(|outcome| self.found(outcome, context)).collect();
        self.got.extend(found);
        if self.got.len() == self.indices.len() {
            return Ok(Some(std::mem::take(&mut self.got)));
        }
        self.message = Self::asking(self.tag, &self.indices[self.got.len()..], self.take);
        Ok(None)
    }
}

impl<'a> AddMany<BorrowedFd<'a>, &'a [u8]> {
    pub(crate) fn new(tag: Tag, deposits: &[NewDeposit<'a>]) -> Self {
        let large = deposits.iter().find(|new| new.payload.len() > MAX_PAYLOAD);
        let mut rest = deposits.iter().map(entry).collect();
        let (message, descriptors, asked) = encode_first(tag, &mut rest);
        Self {
            tag,
            indices: deposits.iter().map(|new| new.index).collect(),
            too_large: large.map(|new| (new.index, new.payload.len())),
            message,
            descriptors,
            asked,
            rest,
            done: Vec::new(),
        }
    }
}

impl<F: AsFd, P: AsRef<[u8]>> Request for AddMany<F, P> {
    type Outcome = Vec<Result<(), Error>>;

    fn operation(&self) -> Operation {
        Operation::AddMany(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Many)
    }

    fn known(&self, context: &AnswerContext<'_>) -> Result<Option<Self::Outcome>, Error> {
        if let Some((index, size)) = self.too_large {
            let operation = Operation::Add(Slot { tag: self.tag, index });
            return Err(Error::TooLarge { attempt: context.attempt(operation), size });
        }
        Ok(self.indices.is_empty().then(Vec::new))
    }

    fn message(&self) -> Outgoing<'_> {
        let descriptors = self.descriptors.iter().map(AsFd::as_fd).collect();
        Outgoing { descriptors, ..self.message.outgoing() }
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Self::Outcome>, Error> {
        let outcomes = context.read_done(self.operation(), answer, self.tag, self.asked)?;
        for outcome in outcomes {
            let index = self.indices[self.done.len()];
            let operation = Operation::Add(Slot { tag: self.tag, index });
            self.done.push(outcome.map_err(|errno| context.refused(operation, errno)));
        }
        if self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.done)));
        }
        (self.message, self.descriptors, self.asked) = encode_first(self.tag, &mut self.rest);
        Ok(None)
    }
}

/// Copies what is behind the first message, which has been sent.
impl Detach for AddMany<BorrowedFd<'_>, &[u8]> {
    type Detached = AddMany<OwnedFd, Payload>;

    fn detach(self) -> io::Result<Self::Detached> {
        let Self { tag, indices, too_large, message, asked, rest, done, .. } = self;
        let rest = rest.into_iter().map(owned).collect::<io::Result<_>>()?;
        Ok(AddMany { tag, indices, too_large, message, descriptors: Vec::new(), asked, rest, done })
    }
}

/// Takes as many deposits from the front as one message has room for: at least one, if there is one.
fn encode_first<F, P: AsRef<[u8]>>(
    tag: Tag,
    rest: &mut VecDeque<many::Deposit<F, P>>,
) -> (Encoded, Vec<F>, usize) {
    let mut room = ROOM;
    let fits = rest.iter().take(MAX_DESCRIPTORS).take_while(|new| {
        let size = DEPOSIT_HEAD + new.payload.as_ref().len();
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    let number = fits.count().max(1).min(rest.len());
    let deposits = rest.drain(..number).collect();
    let (message, descriptors) =
        Encoded::with_descriptors(ManyRequest::Add { tag, deposits }.into_extended());
    (message, descriptors, number)
}

impl DelMany {
    pub(crate) fn new(tag: Tag, indices: &[Index]) -> Self {
        let message = Self::asking(tag, indices);
        Self { tag, indices: indices.to_vec(), message, done: Vec::new() }
    }

    fn asking(tag: Tag, rest: &[Index]) -> Encoded {
        let indices = rest[..rest.len().min(MAX_DESCRIPTORS)].to_vec();
        Encoded::new(ManyRequest::<OwnedFd>::Del { tag, indices }.into_extended())
    }
}

impl Request for DelMany {
    type Outcome = Vec<Result<(), Error>>;

    fn operation(&self) -> Operation {
        Operation::DelMany(self.tag)
    }

    fn feature(&self) -> Option<Feature> {
        Some(Feature::Many)
    }

    fn known(&self, _context: &AnswerContext<'_>) -> Result<Option<Self::Outcome>, Error> {
        Ok(self.indices.is_empty().then(Vec::new))
    }

    fn message(&self) -> Outgoing<'_> {
        self.message.outgoing()
    }

    fn take_answer(
        &mut self,
        answer: Message<OwnedFd>,
        context: &AnswerContext<'_>,
    ) -> Result<Option<Self::Outcome>, Error> {
        let asked = (self.indices.len() - self.done.len()).min(MAX_DESCRIPTORS);
        let outcomes = context.read_done(self.operation(), answer, self.tag, asked)?;
        for outcome in outcomes {
            let operation =
                Operation::Del(Slot { tag: self.tag, index: self.indices[self.done.len()] });
            self.done.push(outcome.map_err(|errno| context.refused(operation, errno)));
        }
        if self.done.len() == self.indices.len() {
            return Ok(Some(std::mem::take(&mut self.done)));
        }
        self.message = Self::asking(self.tag, &self.indices[self.done.len()..]);
        Ok(None)
    }
}

impl AnswerContext<'_> {
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

fn entry<'a>(new: &NewDeposit<'a>) -> many::Deposit<BorrowedFd<'a>, &'a [u8]> {
    many::Deposit {
        index: new.index,
        ufd: new.descriptor.map_or(-1, |descriptor| descriptor.as_raw_fd()),
        payload: new.payload,
        descriptor: new.descriptor,
    }
}

fn owned(
    borrowed: many::Deposit<BorrowedFd<'_>, &[u8]>,
) -> io::Result<many::Deposit<OwnedFd, Payload>> {
    let many::Deposit { index, ufd, payload, descriptor } = borrowed;
    let descriptor = descriptor.map(|descriptor| descriptor.try_clone_to_owned()).transpose()?;
    Ok(many::Deposit { index, ufd, payload: payload.to_vec().into(), descriptor })
}
