//! Why a request failed: what the peer is told, and what the audit trail says.

use std::borrow::Cow;

use fdbroker_policy::{Accept, Kind, Uid};
use fdbroker_wire::Errno;

use crate::log::Verdict;
use crate::worker::limits::quota::Exceeded;
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

/// Every failure is made here, so that what peers are told can be read in one place.
impl Failure {
    /// Refused by the policy.
    pub(crate) fn denied(reason: &str) -> Self {
        Self { verdict: Verdict::Refused, denial: Denial::REFUSED, reason: reason.to_owned() }
    }

    /// Refused like by the policy: the deposit is another user's.
    pub(crate) fn of_another(owner: Uid, reason: &str) -> Self {
        Self::denied(&format!("uid {owner} deposited it; to replace it: {reason}"))
    }

    /// Allowed, and nothing there.
    pub(crate) fn absent() -> Self {
        let reason = Denial::ABSENT.text.into_owned();
        Self { verdict: Verdict::Failed, denial: Denial::ABSENT, reason }
    }

    pub(crate) fn unrecorded() -> Self {
        Self::plain(Errno::IO, "cannot write the audit trail; request refused")
    }

    pub(crate) fn own_socket() -> Self {
        Self::plain(Errno::OPNOTSUPP, "the broker does not accept its own sockets")
    }

    /// The tag accepts other kinds of deposits. A peer that may add to the tag may know which.
    pub(crate) fn not_accepted(kind: Kind, accept: Accept) -> Self {
        let kinds: Vec<_> = accept.iter().map(|kind| kind.name()).collect();
        let reason = format!(
            "the tag does not accept a deposit of kind {}; it accepts {}",
            kind.name(),
            if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") }
        );
        Self::plain(Errno::OPNOTSUPP, &reason)
    }

    /// A deposit would exceed a quota.
    pub(crate) fn exceeds(exceeded: &Exceeded) -> Self {
        Self::plain(Errno::DQUOT, &exceeded.to_string())
    }

    /// A deposit that is to be purged is in use.
    pub(crate) fn reachable() -> Self {
        let reason = "a rule still allows somebody to get, replace or delete the deposit; \
                      `fdbroker who SLOT` names them";
        Self::plain(Errno::BUSY, reason)
    }

    pub(crate) fn supervisor_full() -> Self {
        let reason = "the supervisor takes no more descriptors at the moment; try again";
        Self::failed(Errno::AGAIN, reason)
    }

    /// A deposit of a strict tag does not outlive the broker, and is not kept.
    pub(crate) fn not_durable(errno: Errno, reason: &str) -> Self {
        let reason = format!("the tag is strict (`durability`), and {reason}; the slot is empty");
        Self::failed(errno, &reason)
    }

    /// Allowed, and not opened. A caller that only has to wait is told for what.
    pub(crate) fn not_opened(errno: Errno, reason: &str) -> Self {
        if errno == Errno::BUSY {
            return Self::failed(errno, reason);
        }
        Self::new(Verdict::Failed, errno, "the resource cannot be opened", reason)
    }

    /// Not opened, since that would exceed a quota.
    pub(crate) fn no_room_to_open(exceeded: &Exceeded) -> Self {
        match exceeded {
            Exceeded::Opening => Self::not_opened(Errno::BUSY, &exceeded.to_string()),
            _ => Self::failed(Errno::DQUOT, &exceeded.to_string()),
        }
    }

    /// Refused for a reason that the peer may know.
    fn plain(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Refused, errno, reason, reason)
    }

    /// Allowed, and cannot be done as things are.
    fn failed(errno: Errno, reason: &str) -> Self {
        Self::new(Verdict::Failed, errno, reason, reason)
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
        const FENCED: &str =
            "the tag is being taken over: it cannot be changed until that has ended";
        const OVERTAKEN: &str = "another process has taken the tag over";
        match refusal {
            OwnershipRefusal::Granted => Self::failed(Errno::BUSY, FENCED),
            OwnershipRefusal::Overtaken => Self::failed(Errno::STALE, OVERTAKEN),
        }
    }
}
