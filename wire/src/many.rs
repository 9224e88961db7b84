//! Many slots of one tag in one message (version 2): GET_MANY, ADD_MANY and DEL_MANY.
//!
//! What does not fit into one message is asked for again: an answer to GET_MANY may speak of fewer
//! slots than the question, and then of the first of them. Each slot has an outcome of its own.

use crate::fields::{Body, Fields};
use crate::{
    Errno, Extended, Fault, Index, Limits, MAX_DESCRIPTORS, MAX_PAYLOAD, Payload, Tag, opcode,
};

/// What is asked about many slots of a tag. Payloads (of type `P`) may be borrowed by who sends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManyRequest<F, P = Payload> {
    /// GET_MANY: get, or take, the deposits of these slots.
    Get {
        /// Their tag.
        tag: Tag,
        /// The slots, 1 to [`MAX_DESCRIPTORS`] of them.
        indices: Vec<Index>,
        /// Whether what is given is to be deleted: once its answer has been sent, and all of it
        /// or nothing of a slot.
        take: bool,
    },
    /// ADD_MANY: deposit these, each in the place of what its slot held.
    Add {
        /// Their tag.
        tag: Tag,
        /// The deposits, 1 to [`MAX_DESCRIPTORS`] of them.
        deposits: Vec<Deposit<F, P>>,
    },
    /// DEL_MANY: delete the deposits of these slots.
    Del {
        /// Their tag.
        tag: Tag,
        /// The slots, 1 to [`MAX_DESCRIPTORS`] of them.
        indices: Vec<Index>,
    },
}

/// What is answered about many slots of a tag. Payloads (of type `P`) may be borrowed by who sends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManyAnswer<F, P = Payload> {
    /// GOT_MANY answers GET_MANY: for the first slots that were asked for, in their order.
    Got {
        /// Their tag.
        tag: Tag,
        /// At least one.
        outcomes: Vec<Outcome<F, P>>,
    },
    /// DONE_MANY answers ADD_MANY and DEL_MANY: one outcome for each slot, in their order.
    Done {
        /// Their tag.
        tag: Tag,
        /// As many as were asked.
        outcomes: Vec<Result<(), Errno>>,
    },
}

/// One deposit among many of a tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deposit<F, P = Payload> {
    /// Where.
    pub index: Index,
    /// The number that the descriptor had where it was deposited; negative, and without
    /// descriptor, for a payload alone.
    pub ufd: i32,
    /// The bytes.
    pub payload: P,
    /// The descriptor; there is one if, and only if, `ufd` is not negative.
    pub descriptor: Option<F>,
}

/// The result for one slot among many.
pub type Outcome<F, P = Payload> = Result<Deposit<F, P>, (Index, Errno)>;

/// How many bytes of body a deposit takes, beside its payload.
pub const DEPOSIT_HEAD: usize = 16;
/// How many bytes of body all the deposits of one message may take.
pub const ROOM: usize = Limits::PEER.body - HEAD;
const HEAD: usize = 4;

impl<F, P: AsRef<[u8]>> ManyRequest<F, P> {
    /// The message as it is sent.
    pub fn into_extended(self) -> Extended<F> {
        let mut out = Body::default();
        let mut descriptors = Vec::new();
        let op = match self {
            Self::Get { tag, indices, take } => {
                out.i16(tag.get()).i16(i16::from(take));
                out.indices(&indices);
                opcode::GET_MANY
            }
            Self::Add { tag, deposits } => {
                out.i16(tag.get()).i16(count(deposits.len()));
                deposits.into_iter().for_each(|one| out.one_of_many(Ok(one), &mut descriptors));
                opcode::ADD_MANY
            }
            Self::Del { tag, indices } => {
                out.i16(tag.get()).i16(0);
                out.indices(&indices);
                opcode::DEL_MANY
            }
        };
        Extended { op, flags: 0, body: out.0.into(), descriptors }
    }
}

impl<F> ManyRequest<F> {
    /// Whether an opcode is one of these.
    pub fn is(op: i16) -> bool {
        matches!(op, opcode::GET_MANY | opcode::ADD_MANY | opcode::DEL_MANY)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// What to answer instead, when it makes no sense; its descriptors are dropped. The connection
    /// goes on.
    pub fn from_extended(message: Extended<F>) -> Result<Self, Fault> {
        let Extended { op, body, descriptors, .. } = message;
        Self::read(op, &body, descriptors).ok_or(BAD_REQUEST)
    }

    fn read(op: i16, body: &[u8], descriptors: Vec<F>) -> Option<Self> {
        let mut fields = Fields(body);
        let mut descriptors = descriptors.into_iter();
        let (tag, number) = (Tag::new(fields.i16()?)?, fields.i16()?);
        let request = match op {
            opcode::GET_MANY => Self::Get { tag, indices: fields.indices()?, take: number != 0 },
            opcode::DEL_MANY => Self::Del { tag, indices: fields.indices()? },
            opcode::ADD_MANY => {
                let outcomes = fields.outcomes(number, &mut descriptors)?;
                let deposits = outcomes.into_iter().map(Result::ok).collect::<Option<_>>()?;
                Self::Add { tag, deposits }
            }
            _ => return None,
        };
        // What nobody claimed belongs to nothing.
        descriptors.next().is_none().then_some(request)
    }
}

impl<F, P: AsRef<[u8]>> ManyAnswer<F, P> {
    /// The message as it is sent.
    pub fn into_extended(self) -> Extended<F> {
        let mut out = Body::default();
        let mut descriptors = Vec::new();
        let op = match self {
            Self::Got { tag, outcomes } => {
                out.0.reserve(HEAD + outcomes.len() * DEPOSIT_HEAD);
                descriptors.reserve(outcomes.len());
                out.i16(tag.get()).i16(count(outcomes.len()));
                outcomes.into_iter().for_each(|one| out.one_of_many(one, &mut descriptors));
                opcode::GOT_MANY
            }
            Self::Done { tag, outcomes } => {
                out.i16(tag.get()).i16(count(outcomes.len()));
                for outcome in outcomes {
                    out.i32(rc(outcome.err()));
                }
                opcode::DONE_MANY
            }
        };
        Extended { op, flags: 0, body: out.0.into(), descriptors }
    }
}

impl<F> ManyAnswer<F> {
    /// Whether an opcode is one of these.
    pub fn is(op: i16) -> bool {
        matches!(op, opcode::GOT_MANY | opcode::DONE_MANY)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// What is wrong with it; its descriptors are dropped.
    pub fn from_extended(message: Extended<F>) -> Result<Self, Fault> {
        let Extended { op, body, descriptors, .. } = message;
        Self::read(op, &body, descriptors).ok_or(BAD_ANSWER)
    }

    fn read(op: i16, body: &[u8], descriptors: Vec<F>) -> Option<Self> {
        let mut fields = Fields(body);
        let mut descriptors = descriptors.into_iter();
        let (tag, number) = (Tag::new(fields.i16()?)?, fields.i16()?);
        let answer = match op {
            opcode::GOT_MANY => {
                Self::Got { tag, outcomes: fields.outcomes(number, &mut descriptors)? }
            }
            opcode::DONE_MANY => {
                let number = in_range(usize::try_from(number).ok()?)?;
                let outcomes = (0..number).map(|_| fields.rc()).collect::<Option<_>>()?;
                fields.end()?;
                Self::Done { tag, outcomes }
            }
            _ => return None,
        };
        descriptors.next().is_none().then_some(answer)
    }
}

const BAD_REQUEST: Fault = Fault::survivable(Errno::INVAL, "an invalid request for many slots");
const BAD_ANSWER: Fault = Fault::survivable(Errno::PROTO, "an invalid answer about many slots");

/// A number of slots; more than a message may speak of becomes one that every reader refuses.
fn count(number: usize) -> i16 {
    i16::try_from(number).unwrap_or(-1)
}

fn in_range(number: usize) -> Option<usize> {
    (1..=MAX_DESCRIPTORS).contains(&number).then_some(number)
}

fn rc(errno: Option<Errno>) -> i32 {
    -errno.map_or(0, |errno| i32::from(errno.get()))
}

impl Body {
    fn indices(&mut self, indices: &[Index]) {
        for index in indices {
            self.i32(index.get());
        }
    }

    /// i32 index · i32 rc · i32 ufd · i32 nob · the payload.
    fn one_of_many<F, P: AsRef<[u8]>>(&mut self, outcome: Outcome<F, P>, descriptors: &mut Vec<F>) {
        match outcome {
            Ok(Deposit { index, ufd, payload, descriptor }) => {
                let payload = payload.as_ref();
                let nob = i32::try_from(payload.len()).unwrap_or(-1);
                self.i32(index.get()).i32(0).i32(ufd).i32(nob).bytes(payload);
                descriptors.extend(descriptor);
            }
            Err((index, errno)) => {
                self.i32(index.get()).i32(rc(Some(errno))).i32(-1).i32(0);
            }
        }
    }
}

impl Fields<'_> {
    fn many_index(&mut self) -> Option<Index> {
        Index::new(self.i32()?)
    }

    fn indices(&mut self) -> Option<Vec<Index>> {
        let number = in_range(self.0.len() / size_of::<i32>())?;
        let mut indices = Vec::with_capacity(number);
        for _ in 0..number {
            indices.push(self.many_index()?);
        }
        self.end().map(|()| indices)
    }

    fn rc(&mut self) -> Option<Result<(), Errno>> {
        match self.i32()?.checked_neg()? {
            0 => Some(Ok(())),
            errno => Some(Err(Errno::new(errno)?)),
        }
    }

    fn outcomes<F>(
        &mut self,
        number: i16,
        descriptors: &mut impl Iterator<Item = F>,
    ) -> Option<Vec<Outcome<F>>> {
        let number = in_range(usize::try_from(number).ok()?)?;
        let mut outcomes = Vec::with_capacity(number);
        for _ in 0..number {
            outcomes.push(self.deposit(descriptors)?);
        }
        self.end().map(|()| outcomes)
    }

    fn deposit<F>(&mut self, descriptors: &mut impl Iterator<Item = F>) -> Option<Outcome<F>> {
        let (index, rc, ufd) = (self.many_index()?, self.rc()?, self.i32()?);
        let nob = usize::try_from(self.i32()?).ok().filter(|nob| *nob <= MAX_PAYLOAD)?;
        let (payload, rest) = self.0.split_at_checked(nob)?;
        self.0 = rest;
        if let Err(errno) = rc {
            return (payload.is_empty() && ufd < 0).then_some(Err((index, errno)));
        }
        let descriptor = if ufd >= 0 { Some(descriptors.next()?) } else { None };
        Some(Ok(Deposit { index, ufd, payload: payload.into(), descriptor }))
    }
}
