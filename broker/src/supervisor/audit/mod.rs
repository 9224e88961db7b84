//! The audit file, and what the supervisor itself records.

pub(crate) mod file;
pub(crate) mod records;
