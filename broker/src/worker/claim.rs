//! One claim of a tag: who wants to own it, how far that is, and what can come of it.

use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::claim::Mode;
use tokio::time::Instant;

use super::holder::Holder;
use super::identity::Identity;
use crate::log::Verdict;

/// Somebody wants to own the tag.
pub(super) struct Claim {
    pub(super) number: i32,
    pub(super) holder: Rc<Holder>,
    pub(super) mode: Mode,
    pub(super) time: Duration,
    /// Whether it settles, once the tag is its own.
    settles: bool,
    /// When its time is up, once it is the current one.
    pub(super) due: Option<Instant>,
    /// Whether the owner knows.
    pub(super) told: bool,
    pub(super) granted: bool,
}

/// Something that happened to a claim.
pub(super) struct Happened {
    /// The claimant.
    pub(super) who: Rc<Identity>,
    pub(super) verdict: Verdict,
    pub(super) what: String,
}

/// Why something cannot be done about the ownership of a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
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
pub(super) enum End {
    Withdrawn,
    /// With the connection.
    Left,
}

impl Claim {
    pub(super) fn new(
        number: i32,
        holder: &Rc<Holder>,
        mode: Mode,
        time: Duration,
        settles: bool,
    ) -> Self {
        let holder = Rc::clone(holder);
        Self { number, holder, mode, time, settles, due: None, told: false, granted: false }
    }

    /// How long the next claim waits, if this one becomes the owner now and settles first.
    pub(super) fn settles(&self) -> Option<Instant> {
        self.settles.then(|| Instant::now() + self.time)
    }
}

impl Happened {
    pub(super) fn to(claim: &Claim, verdict: Verdict, what: &str) -> Self {
        let what = format!("claim {}: {what}", claim.number);
        Self { who: Rc::clone(&claim.holder.identity), verdict, what }
    }
}
