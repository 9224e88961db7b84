//! Why a request failed: what the peer is told, and what the audit trail says.

use fdbroker_wire::Errno;

use super::decision::Decision;
use crate::log::Verdict;
use crate::worker::ownership::claim::Refusal;
use crate::worker::ownership::tag::OwnershipRefusal;

/// An answer that says no.
#[derive(PartialEq)]
pub(crate) struct Failure {
    pub(crate) verdict: Verdict,
    pub(crate) errno: Errno,
    /// What the peer is told.
    pub(crate) text: String,
    /// What the administrator is told.
    pub(crate) reason: String,
}

/// The one sentence for every refusal by the policy: it tells nothing about the slot.
const REFUSED: &str = "refused";

impl Failure {
    /// Refused by the policy.
    pub(crate) fn refused(decision: &Decision<'_>) -> Self {
        Self::denied(&decision.reason)
    }

    /// Refused like by the policy, for this reason.
    pub(crate) fn denied(reason: &str) -> Self {
        Self::new(Verdict::Refused, Errno::ACCES, REFUSED, reason)
    }

    /// Refused for a reason that the peer may know.
    pub(crate) fn plain(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Refused, errno, reason, reason)
    }

    /// Allowed, and nothing there.
    pub(crate) fn absent() -> Self {
        Self::new(Verdict::Failed, Errno::NOENT, "the slot is empty", "the slot is empty")
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
        Self { verdict, errno, text: text.to_owned(), reason: reason.to_owned() }
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
