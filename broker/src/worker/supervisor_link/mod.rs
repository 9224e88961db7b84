//! The way to the supervisor: what is written to it, what the worker is restored from, and its life.

pub(crate) mod at_hand;
pub(crate) mod closer;
pub(crate) mod connections;
pub(crate) mod copies;
pub(crate) mod heartbeat;
pub(crate) mod openings;
mod patience;
pub(crate) mod questions;
pub(crate) mod restore;
pub(crate) mod write;
