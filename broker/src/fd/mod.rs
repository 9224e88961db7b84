//! Descriptors that the broker holds for others, and what is done with them off the event loop.

pub(crate) mod close;
pub(crate) mod device;
pub(crate) mod kind;
pub(crate) mod table;

pub(crate) use close::{CloseQueue, DeferredClose, Depositor};

/// A descriptor that a peer brought, or that the broker opened for one. Nothing about it can be
/// trusted, so close(2) never runs on an event loop.
pub(crate) type PeerFd = DeferredClose;
