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
