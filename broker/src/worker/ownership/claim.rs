//! One claim of a tag: who wants to own it, how far that is, and what can come of it.

use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::claim::Mode;
use tokio::time::Instant;

use super::participant::Participant;
use crate::log::Verdict;
use crate::worker::identity::Identity;

/// Somebody wants to own the tag.
pub(crate) struct Claim {
    pub(crate) number: i32,
    pub(crate) participant: Rc<Participant>,
    pub(crate) mode: Mode,
    pub(crate) time: Duration,
    /// Whether it settles, once the tag is its own.
    settles: bool,
    /// When its time is up, once it is the current one.
    pub(crate) due: Option<Instant>,
    /// Whether the owner knows.
    pub(crate) told: bool,
    pub(crate) granted: bool,
}

/// Something that happened to a claim.
pub(crate) struct Happened {
    /// The claimant.
    pub(crate) who: Rc<Identity>,
    pub(crate) verdict: Verdict,
    pub(crate) what: String,
}

/// Why something cannot be done about the ownership of a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another process owns it.
    Owned,
    /// This session claims it already.
    Twice,
    /// This session has too much at stake.
    TooMany,
    /// The owner has not released yet, or has not been told.
    NotGranted,
    /// Nobody claims it.
    Unclaimed,
    /// Another claim is the current one now.
    Ended,
    /// This session neither claims nor owns it.
    Nothing,
}

/// How a claim, or an ownership, is given up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Withdrawn,
    /// With the connection.
    Left,
}

impl Claim {
    pub(crate) fn new(
        number: i32,
        participant: &Rc<Participant>,
        mode: Mode,
        time: Duration,
        settles: bool,
    ) -> Self {
        let participant = Rc::clone(participant);
        Self { number, participant, mode, time, settles, due: None, told: false, granted: false }
    }

    /// How long the next claim waits, if this one becomes the owner now and settles first.
    pub(crate) fn settles(&self) -> Option<Instant> {
        self.settles.then(|| Instant::now() + self.time)
    }
}

impl Happened {
    pub(crate) fn to(claim: &Claim, verdict: Verdict, what: &str) -> Self {
        let what = format!("claim {}: {what}", claim.number);
        Self { who: Rc::clone(&claim.participant.identity), verdict, what }
    }
}
