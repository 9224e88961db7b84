//! Taking a tag over (version 2): CLAIM and what belongs to it, and EVENT, which nobody asked for.
//!
//! An [`Event`] may come at any time to a session that has claimed, between two answers and never
//! within one; it has an opcode of its own, so that it is never taken for an answer.

use std::time::Duration;

use crate::fields::{Body, Fields};
use crate::version2::{BAD_ANSWER, BAD_REQUEST, UNASKED, UNKNOWN, extended};
use crate::{Extended, Fault, Tag, opcode};

/// The longest time that a claim may take, from when its turn has come until it is ready.
pub const MAX_TIME: Duration = Duration::from_secs(3600);

/// What is asked about the ownership of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimRequest {
    /// CLAIM: I want to own this tag.
    Claim {
        /// The tag.
        tag: Tag,
        /// How its owner is to give it up.
        mode: Mode,
        /// How long it may take from when the turn has come until READY: 1 ms to [`MAX_TIME`],
        /// in whole milliseconds.
        time: Duration,
        /// Whether I settle first, once I own it: the next claimant then waits until I have said
        /// READY as its owner, for at most `time`. So nobody takes the tag over before everything
        /// is in its place.
        settle: bool,
    },
    /// RELEASE: what I, the owner, left there is what my claimant may take over, whichever claims
    /// it now: who knows which one should say [`ClaimRequest::ReleaseTo`].
    Release(Tag),
    /// RELEASE to one claim and no other: the claim that the owner was told of may have ended
    /// since.
    ReleaseTo {
        /// The tag.
        tag: Tag,
        /// The claim, as its event named it.
        claim: i32,
    },
    /// READY: I, the claimant, own the tag from now on; or, from its owner, I have settled.
    Ready(Tag),
    /// WITHDRAW: I do not want it any more, neither to claim nor to own it.
    Withdraw(Tag),
}

/// How a tag is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// The owner serves on until its claimant is ready, as is right for listening sockets.
    Live,
    /// The owner stops, brings its deposits up to date, and releases them first, as is right for
    /// connections with state.
    Quiesced,
    /// Not from its owner: only if it belongs to nobody, or to this very process on a connection
    /// that has ended.
    Again,
}

/// What is answered about the ownership of a tag: CLAIMED answers CLAIM. The others are answered
/// with REP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// The tag.
    pub tag: Tag,
    /// How far the claim is.
    pub state: State,
    /// Which claim it is: its events have the same number.
    pub claim: i32,
}

/// How far a claim is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Another claim is before it, or the owner has not released yet: an event will tell.
    Waiting,
    /// The deposits of the tag may be taken over now; READY makes the claimant the owner.
    Granted,
    /// The tag is one's own.
    Owned,
}

/// What happened to a tag that this session owns, owned or claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The tag.
    pub tag: Tag,
    /// What.
    pub what: What,
    /// Of which claim.
    pub claim: i32,
    /// The other process: the claimant, or the one that owned it; 0 when it has no pid here.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// How long the claim may still take; zero where that makes no sense.
    pub left: Duration,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i16)]
pub enum What {
    /// To a claimant: the deposits of the tag may be taken over now.
    Granted = 1,
    /// To a claimant: its owner has gone, and the tag is yours.
    Owned = 2,
    /// To a claimant: it was not ready in time, and claims no more.
    Expired = 3,
    /// To an owner: somebody claims the tag. Serve on; nothing changes there until this ends.
    ClaimedLive = 4,
    /// To an owner: somebody claims the tag. Bring it up to date, and release it.
    ClaimedQuiesced = 5,
    /// To an owner: the claimant has ended, or gave up. You stay the owner.
    Left = 6,
    /// To an owner: the claimant was not ready in time. You stay the owner.
    TimedOut = 7,
    /// To who was the owner: the claimant is ready, and owns the tag.
    Completed = 8,
}

impl What {
    /// Everything that can happen, in the order of the numbers.
    pub const ALL: [Self; 8] = [
        Self::Granted,
        Self::Owned,
        Self::Expired,
        Self::ClaimedLive,
        Self::ClaimedQuiesced,
        Self::Left,
        Self::TimedOut,
        Self::Completed,
    ];

    fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|what| *what as i16 == number)
    }
}

impl ClaimRequest {
    /// Whether an opcode is one of these.
    pub fn is(op: i16) -> bool {
        matches!(op, opcode::CLAIM | opcode::RELEASE | opcode::READY | opcode::WITHDRAW)
    }

    /// The message as it is sent; a time beyond [`MAX_TIME`] is sent as that.
    pub fn into_extended<F>(self) -> Extended<F> {
        let mut out = Body::default();
        let (op, tag) = match self {
            Self::Claim { tag, .. } => (opcode::CLAIM, tag),
            Self::Release(tag) | Self::ReleaseTo { tag, .. } => (opcode::RELEASE, tag),
            Self::Ready(tag) => (opcode::READY, tag),
            Self::Withdraw(tag) => (opcode::WITHDRAW, tag),
        };
        out.i16(tag.get());
        match self {
            Self::Claim { mode, time, settle, .. } => {
                let flag = if settle { SETTLE } else { 0 };
                out.i16(mode.number() | flag).i32(milliseconds(time))
            }
            Self::ReleaseTo { claim, .. } => out.i16(0).i32(claim),
            _ => out.i16(0),
        };
        extended(op, out)
    }

    /// Reads a request; its descriptors, if somebody gave it any, are dropped.
    ///
    /// # Errors
    /// What to answer instead: EPROTO when it is none of these, EINVAL when it is one and makes
    /// no sense. The connection goes on.
    pub fn from_extended<F>(message: Extended<F>) -> Result<Self, Fault> {
        if !Self::is(message.op) {
            return Err(UNKNOWN);
        }
        if !message.descriptors.is_empty() {
            return Err(UNASKED);
        }
        Self::read(message.op, &mut Fields(&message.body)).ok_or(BAD_REQUEST)
    }

    fn read(op: i16, fields: &mut Fields<'_>) -> Option<Self> {
        let tag = Tag::new(fields.i16()?)?;
        let second = fields.i16()?;
        let request = match op {
            opcode::CLAIM => {
                let time = duration(fields.i32()?).filter(|time| !time.is_zero())?;
                let mode = Mode::from_number(second & !SETTLE)?;
                Self::Claim { tag, mode, time, settle: second & SETTLE != 0 }
            }
            opcode::RELEASE if fields.end().is_some() => Self::Release(tag),
            opcode::RELEASE => Self::ReleaseTo { tag, claim: fields.i32()? },
            opcode::READY => Self::Ready(tag),
            _ => Self::Withdraw(tag),
        };
        fields.end().map(|()| request)
    }
}

impl Claimed {
    /// The message as it is sent.
    pub fn into_extended<F>(self) -> Extended<F> {
        let mut out = Body::default();
        out.i16(self.tag.get()).i16(self.state.number()).i32(self.claim);
        extended(opcode::CLAIMED, out)
    }

    /// Reads an answer; its descriptors, if somebody gave it any, are dropped.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_extended<F>(message: Extended<F>) -> Result<Self, Fault> {
        let Extended { op, body, descriptors, .. } = message;
        match (op, descriptors.is_empty()) {
            (opcode::CLAIMED, true) => Self::read(&mut Fields(&body)).ok_or(BAD_ANSWER),
            (opcode::CLAIMED, false) => Err(UNASKED),
            _ => Err(UNKNOWN),
        }
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let tag = Tag::new(fields.i16()?)?;
        let state = State::from_number(fields.i16()?)?;
        let claim = fields.i32()?;
        fields.end().map(|()| Self { tag, state, claim })
    }
}

impl Event {
    /// Whether a message is one.
    pub fn is<F>(message: &Extended<F>) -> bool {
        message.op == opcode::EVENT
    }

    /// The message as it is sent.
    pub fn into_extended<F>(self) -> Extended<F> {
        let mut out = Body::default();
        out.i16(self.tag.get()).i16(self.what as i16).i32(self.claim);
        out.i32(self.pid).u32(self.uid).i32(milliseconds(self.left));
        extended(opcode::EVENT, out)
    }

    /// Reads an event; its descriptors, if somebody gave it any, are dropped. None for one that a
    /// later version of the protocol may know: it is to be left aside.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_extended<F>(message: Extended<F>) -> Result<Option<Self>, Fault> {
        let Extended { op, body, descriptors, .. } = message;
        match (op, descriptors.is_empty()) {
            (opcode::EVENT, true) => Self::read(&mut Fields(&body)).ok_or(BAD_ANSWER),
            (opcode::EVENT, false) => Err(UNASKED),
            _ => Err(UNKNOWN),
        }
    }

    fn read(fields: &mut Fields<'_>) -> Option<Option<Self>> {
        let tag = Tag::new(fields.i16()?)?;
        let what = What::from_number(fields.i16()?);
        let (claim, pid, uid) = (fields.i32()?, fields.i32()?, fields.u32()?);
        let left = duration(fields.i32()?)?;
        let event = what.map(|what| Self { tag, what, claim, pid, uid, left });
        fields.end().map(|()| event)
    }
}

/// Beside the mode.
const SETTLE: i16 = 0x100;

impl Mode {
    const fn number(self) -> i16 {
        match self {
            Self::Live => 0,
            Self::Quiesced => 1,
            Self::Again => 2,
        }
    }

    fn from_number(number: i16) -> Option<Self> {
        [Self::Live, Self::Quiesced, Self::Again].into_iter().find(|mode| mode.number() == number)
    }
}

impl State {
    const fn number(self) -> i16 {
        match self {
            Self::Waiting => 0,
            Self::Granted => 1,
            Self::Owned => 2,
        }
    }

    fn from_number(number: i16) -> Option<Self> {
        [Self::Waiting, Self::Granted, Self::Owned]
            .into_iter()
            .find(|state| state.number() == number)
    }
}

fn milliseconds(time: Duration) -> i32 {
    // MAX_TIME is far below the largest i32.
    i32::try_from(time.min(MAX_TIME).as_millis()).unwrap_or(i32::MAX)
}

/// Returns `None` if it is negative, or beyond [`MAX_TIME`].
fn duration(milliseconds: i32) -> Option<Duration> {
    let time = Duration::from_millis(u64::try_from(milliseconds).ok()?);
    (time <= MAX_TIME).then_some(time)
}
