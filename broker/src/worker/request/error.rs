//! Why a request failed: what the peer is told, and what the audit trail says.

use std::borrow::Cow;

use fdbroker_wire::Errno;

use crate::log::Verdict;
use crate::worker::ownership::claim::Refusal;
use crate::worker::ownership::tag::OwnershipRefusal;

/// A request that is not done.
#[derive(PartialEq)]
pub(crate) struct Failure {
    pub(crate) verdict: Verdict,
    pub(crate) denial: Denial,
    /// What the administrator is told.
    pub(crate) reason: String,
}

/// What a peer is told of a request that is not done.
#[derive(Clone, PartialEq)]
pub(crate) struct Denial {
    pub(crate) errno: Errno,
    pub(crate) text: Cow<'static, str>,
}

impl Denial {
    /// The one sentence for every refusal by the policy: it tells nothing about the slot.
    pub(crate) const REFUSED: Self = Self { errno: Errno::ACCES, text: Cow::Borrowed("refused") };
    /// Allowed, and nothing there.
    pub(crate) const ABSENT: Self =
        Self { errno: Errno::NOENT, text: Cow::Borrowed("the slot is empty") };
}

impl Failure {
    /// Refused by the policy, or as by the policy, for this reason.
    pub(crate) fn denied(reason: &str) -> Self {
        let (denial, reason) = (Denial::REFUSED, reason.to_owned());
        Self { verdict: Verdict::Refused, denial, reason }
    }

    /// Refused for a reason that the peer may know.
    pub(crate) fn plain(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Refused, errno, reason, reason)
    }

    /// Allowed, and nothing there.
    pub(crate) fn absent() -> Self {
        let (denial, reason) = (Denial::ABSENT, Denial::ABSENT.text.into_owned());
        Self { verdict: Verdict::Failed, denial, reason }
    }

    /// Allowed, and cannot be done as things are.
    pub(crate) fn failed(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Failed, errno, reason, reason)
    }

    /// Allowed, and not opened.
    pub(crate) fn not_opened(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Failed, errno, "the resource cannot be opened", reason)
    }

    fn new(verdict: Verdict, errno: Errno, text: &str, reason: &str) -> Self {
        let denial = Denial { errno, text: text.to_owned().into() };
        Self { verdict, denial, reason: reason.to_owned() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        const TOO_MANY: &str = "this connection already claims or owns the maximum number of tags";
        let (errno, text) = match refusal {
            Refusal::TooMany => return Self::plain(Errno::DQUOT, TOO_MANY),
            Refusal::Owned => (Errno::STALE, "another process owns the tag"),
            Refusal::Twice => (Errno::INVAL, "this connection claims the tag already"),
            Refusal::NotGranted => (Errno::BUSY, "the claim has not been granted yet"),
            Refusal::Unclaimed => (Errno::INVAL, "nobody claims the tag"),
            Refusal::Ended => (Errno::INVAL, "that claim has ended"),
            Refusal::Nothing => (Errno::INVAL, "nothing is claimed"),
        };
        Self::failed(errno, text)
    }
}

impl From<OwnershipRefusal> for Failure {
    fn from(refusal: OwnershipRefusal) -> Self {
        match refusal {
            OwnershipRefusal::Granted => Self::failed(Errno::BUSY, FENCED),
            OwnershipRefusal::Overtaken => Self::failed(Errno::STALE, OVERTAKEN),
        }
    }
}

const OVERTAKEN: &str = "another process has taken the tag over";
const FENCED: &str = "the tag is being taken over: it cannot be changed until that has ended";
