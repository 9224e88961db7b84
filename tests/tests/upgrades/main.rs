//! Upgrades with the library's upgrader: in one process, in real ones, and under faults.
//!
//! - [`addresses`]: where sockets are bound, and of which kind they are
//! - [`course`]: who may change what at which time, and what everybody is told
//! - [`edges`]: processes that fail, hang, are many or are of another version
//! - [`group`]: a group of sockets at one address that shrinks
//! - [`handed_on`]: what an upgrader hands on
//! - [`on_tokio`]: the same on tokio
//! - [`processes`]: real processes that are killed or hang
//! - [`programs`]: two programs that have one tag by mistake
//! - [`unreachable`]: listening sockets that nobody can reach any more

mod addresses;
mod course;
mod edges;
mod group;
mod handed_on;
mod on_tokio;
mod processes;
mod programs;
mod unreachable;
