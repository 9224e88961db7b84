//! How many entries of the supervisor's descriptor table it takes to open something for a user, and to have it opened.
//!
//! The worker charges users for these, so the sum of all charges is never less than what the supervisor holds for them.

use fdbroker_policy::{Resource, Source};

/// A lease: its connection, the pidfd of its process, and the connection again for the service manager's store.
pub(crate) const OF_A_LEASE: u32 = 3;
/// A helper at work: its link, the connection, four credentials and certificates, a socket, and a pidfd of the process that
/// asked.
/// A program that logs in has a pipe in the place of certificates.
const OF_A_HELPER: u32 = 8;

/// What one opening takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpeningCost {
    /// Until it is answered.
    pub(crate) at_work: u32,
    /// From then on, until all of it is closed.
    pub(crate) kept: u32,
}

impl OpeningCost {
    /// What opening this resource takes.
    pub(crate) fn of(resource: &Resource) -> Self {
        Self {
            at_work: match &resource.source {
                Source::Device { .. } | Source::File { .. } => 1,
                Source::Connect(_) => OF_A_HELPER,
            },
            kept: if resource.lease.is_some() { OF_A_LEASE } else { 1 },
        }
    }
}

#[cfg(test)]
impl OpeningCost {
    /// That of a file which its caller has for ever.
    pub(crate) const LEAST: Self = Self { at_work: 1, kept: 1 };
}
