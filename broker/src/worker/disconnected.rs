//! A request that has no answer any more.

/// The peer has left while its request waited, or the supervisor has gone: nobody is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Disconnected;
