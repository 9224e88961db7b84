//! The policy files: read, and read again.

pub(crate) mod reload;
pub(crate) mod source;
