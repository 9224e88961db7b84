//! Resources, opened off the event loop.

pub(crate) mod pool;
pub(crate) mod resource;
