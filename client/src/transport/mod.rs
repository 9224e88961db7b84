//! The way to the broker: a socket that is connected and trusted, and what goes over it.

pub(crate) mod backoff;
pub(crate) mod channel;
pub(crate) mod connector;
pub(crate) mod io;
pub(crate) mod socket;
pub(crate) mod trust;
