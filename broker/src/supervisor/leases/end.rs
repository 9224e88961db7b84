//! Why a lease has ended, and the record of it.

use std::fmt;
use std::time::SystemTime;

use fdbroker_policy::{Gid, Slot, Uid};
use jiff::Timestamp;

use super::lease::{Lease, LeaseNumber};
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
    pub(super) number: LeaseNumber,
    pub(super) resource: &'a str,
    pub(super) slot: Slot,
    pub(super) uid: Uid,
    pub(super) pid: i32,
    pub(super) since: SystemTime,
    pub(super) why: Why,
}

impl<'a> Ending<'a> {
    pub(super) fn of(number: LeaseNumber, lease: &'a Lease, why: Why) -> Self {
        let Lease { ref resource, slot, uid, pid, since, .. } = *lease;
        Self { number, resource, slot, uid, pid, since, why }
    }

    /// Records it.
    ///
    /// # Errors
    /// If that cannot be done, and must be.
    pub(super) fn record(&self, audit: &Audit) -> Result<(), NotRecorded> {
        let Self { number: LeaseNumber(number), resource, slot, uid, pid, since, why } = *self;
        let reason = why.to_string();
        let since = Timestamp::try_from(since).unwrap_or_default();
        audit.record(&Record {
            kind: Kind::LeaseEnd,
            gid: None,
            subject: Subject::Slot(slot),
            name: Name::Plain(resource),
            handed_out: HandedOut { lease: Some(number), ..HandedOut::default() },
            end: Some(LeaseEnd { since, ended: why.word(), by: why.by() }),
            reason: &reason,
            ..Record::of(uid, Gid(0), pid, "unknown")
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
