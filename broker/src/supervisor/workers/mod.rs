//! The worker's process: started, watched, written to; its connections, and the closers beside it.

pub(crate) mod abandonment;
pub(crate) mod charges;
pub(crate) mod closers;
pub(crate) mod connections;
pub(crate) mod helper;
mod killed;
pub(crate) mod link;
pub(crate) mod process;
mod program;
pub(crate) mod pulse;
pub(crate) mod relays;
pub(crate) mod restarts;
pub(crate) mod spawn;
pub(crate) mod spawner;
