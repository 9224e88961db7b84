//! Why a lease has ended, and the record of it.

use std::fmt;

use fdbroker_policy::{Gid, Uid};
use fdbroker_wire::Lease;
use jiff::Timestamp;

use crate::audit::{Audit, NotRecorded};
use crate::log::{HandedOut, Kind, LeaseEnd, Name, Record, Subject};

/// Why a lease has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    ProcessEnded,
    HungUp,
    TimeUp,
    GivenBack(Uid),
    Revoked(Uid),
    /// The broker ends, and the next one does not know the lease.
    BrokerEnded,
    /// The connection goes on, and nobody notices its end.
    Unwatched,
}

/// A lease that ends.
pub(super) struct Ending<'a> {
    pub(super) lease: &'a Lease,
    pub(super) why: Why,
}

impl Ending<'_> {
    /// Records it.
    ///
    /// # Errors
    /// If that cannot be done, and must be.
    pub(super) fn record(&self, audit: &Audit) -> Result<(), NotRecorded> {
        let Self { lease, why } = self;
        let since = i64::try_from(lease.since).ok();
        let since = since.and_then(|since| Timestamp::from_millisecond(since).ok());
        let end = LeaseEnd { since: since.unwrap_or_default(), ended: why.word(), by: why.by() };
        audit.record(&Record {
            kind: Kind::LeaseEnd,
            gid: None,
            subject: Subject::Slot(lease.slot),
            name: Name::Plain(&lease.resource),
            handed_out: HandedOut::of_lease(lease),
            end: Some(end),
            reason: &why.to_string(),
            ..Record::of(Uid(lease.uid), Gid(0), lease.pid, "unknown")
        })
    }
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Self::ProcessEnded => "process-ended",
            Self::HungUp => "hung-up",
            Self::TimeUp => "ttl",
            Self::GivenBack(_) => "given-back",
            Self::Revoked(_) => "revoked",
            Self::BrokerEnded => "broker-ended",
            Self::Unwatched => "unwatched",
        }
    }

    fn by(self) -> Option<Uid> {
        match self {
            Self::GivenBack(by) | Self::Revoked(by) => Some(by),
            _ => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProcessEnded => f.write_str("its process has ended"),
            Self::HungUp => f.write_str("the connection has ended"),
            Self::TimeUp => f.write_str("its time is up (`ttl`)"),
            Self::GivenBack(by) => write!(f, "user {by} gave it back"),
            Self::Revoked(by) => write!(f, "user {by} revoked it, who may operate the broker"),
            Self::BrokerEnded => f.write_str("the broker ends, and the next one does not know it"),
            Self::Unwatched => {
                f.write_str("it cannot be watched any more; its connection may go on")
            }
        }
    }
}
