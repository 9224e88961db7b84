//! The policy that is in force, and what of it the worker looks up.

pub(crate) mod active;
pub(crate) mod names;
