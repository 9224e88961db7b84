//! A new broker takes over from one that runs (`--replace`), and nobody loses what it has.
//!
//! The one that runs is asked at its [`door`]. Until the new one commits, nothing has changed: if it fails, the old one starts
//! another worker and goes on. The new one's commit is one message, which the old one has read, or never reads.

mod asker;
pub(crate) mod door;
pub(crate) mod end;
pub(crate) mod message;
pub(crate) mod predecessor;
pub(crate) mod process;
pub(crate) mod room;
mod shown;
pub(crate) mod succession;
pub(crate) mod visitor;
