//! A request that has no answer any more. In a file of its own, since both the peer's side and the
//! supervisor's find it out, and neither depends on the other.

/// The peer has left while its request waited, or the supervisor has gone: nobody is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Disconnected;
