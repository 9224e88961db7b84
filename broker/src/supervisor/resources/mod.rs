//! Resources, opened off the event loop.

mod attempts;
pub(crate) mod caller;
pub(crate) mod capability;
mod certificates;
pub(crate) mod connect;
mod credential;
pub(crate) mod device_watch;
pub(crate) mod entry;
pub(crate) mod failure;
mod failures;
mod lanes;
mod lasting;
pub(crate) mod openable;
pub(crate) mod path;
pub(crate) mod pool;
mod ready;
mod sealed;
mod shared;
mod withdrawals;
