//! The policy files: read, read again, and kept for a start when they do not load.

pub(crate) mod in_force;
pub(crate) mod keeper;
pub(crate) mod last_good;
pub(crate) mod names;
pub(crate) mod not_kept;
pub(crate) mod reload;
pub(crate) mod reload_notes;
pub(crate) mod retry;
pub(crate) mod source;
pub(crate) mod watch;
