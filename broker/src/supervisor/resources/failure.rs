//! Why a resource was not opened.

use fdbroker_wire::Errno;

/// Why a resource was not opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenFailure {
    /// What the peer is answered.
    pub(crate) errno: Errno,
    /// What the log says: the resource, what it is, what the system said, what to do.
    pub(crate) text: String,
}

impl OpenFailure {
    /// It was asked for under a policy that is no longer in force, and is to be asked for again.
    pub(crate) fn stale() -> Self {
        Self { errno: Errno::STALE, text: "the policy has been replaced".to_owned() }
    }
}
