//! Who owns which tag: its owner, who claims it, and what they are told.

pub(crate) mod claim;
pub(crate) mod events;
pub(crate) mod participant;
pub(crate) mod registry;
pub(crate) mod tag;
#[cfg(test)]
mod timeouts;
