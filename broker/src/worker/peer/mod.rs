//! One peer: its session, what it sends and what it is sent.

pub(crate) mod inbox;
pub(crate) mod outbox;
pub(crate) mod session;
