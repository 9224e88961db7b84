//! On whose account something is: what counts against a user also counts what its subordinate ids do.
//!
//! What is decided, recorded and kept goes by the user id that the kernel names. Quotas, rates, turns and threads
//! go by the payer. Each of them takes a [`Payer`], so that none can count an id by itself by mistake.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use fdbroker_host::{
    CountedRange, Lookup, SUBUID, SubordinateIds, subordinate_ids, unknown_subordinate_ids,
};
use fdbroker_policy::Uid;
use fdbroker_wire::Subordinates;

const FIRST_ORDINARY_USER: u32 = 1000;

/// The user whose account is charged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Payer(Uid);

/// Which user pays for which.
#[derive(Clone, Default)]
pub(crate) struct Payers(Arc<SubordinateIds>);

impl Payer {
    /// A payer that another process has named.
    pub(crate) const fn named(uid: u32) -> Self {
        Self(Uid(uid))
    }

    /// Whether it is a system user: the user ids of services (SYS_UID_MAX in login.defs(5)).
    pub(crate) const fn is_of_the_system(self) -> bool {
        self.0.0 < FIRST_ORDINARY_USER
    }

    /// Its user id.
    pub(crate) const fn uid(self) -> Uid {
        self.0
    }
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Payers {
    /// Reads `file`, or else the system's, for subordinate ids. Returns also what is to be logged. Where it cannot be read, what was
    /// read `before` holds on; where nothing was, all ids that can be subordinate ones have one payer.
    pub(crate) fn read(
        file: Option<&Path>,
        before: Option<&Self>,
        names: &dyn Lookup,
    ) -> (Self, Vec<String>) {
        match subordinate_ids(file.unwrap_or(Path::new(SUBUID)), names) {
            Ok((ids, odd)) => (Self(Arc::new(ids)), odd),
            Err(error) => {
                let (payers, until_then) = match before {
                    Some(before) => (before.clone(), "what was read before holds"),
                    None => (Self(Arc::new(unknown_subordinate_ids())), AS_ONE),
                };
                (payers, vec![format!("{error}; {until_then}; correct the file, and reload")])
            }
        }
    }

    /// Takes over what the supervisor has read.
    pub(crate) fn told(subordinates: &[Subordinates]) -> Self {
        let ranges = subordinates.iter().map(|range| CountedRange {
            first: Uid(range.first),
            last: Uid(range.last),
            user: Uid(range.user),
        });
        Self(Arc::new(SubordinateIds::new(ranges.collect())))
    }

    /// What a worker is told.
    pub(crate) fn to_tell(&self) -> Vec<Subordinates> {
        let ranges = self.0.ranges().iter().map(|range| Subordinates {
            first: range.first.0,
            last: range.last.0,
            user: range.user.0,
        });
        ranges.collect()
    }

    /// Returns who pays for a user.
    pub(crate) fn of(&self, uid: Uid) -> Payer {
        Payer(self.0.user_of(uid))
    }
}

const AS_ONE: &str =
    "all user ids from 65536 on that have no account in /etc/passwd count as one user";
