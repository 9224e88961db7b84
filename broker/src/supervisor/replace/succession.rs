//! All that was taken over from a broker, until it is committed.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use fdbroker_host::Standing;

use super::process::BrokerProcess;
use crate::supervisor::workers::link::Link;

/// What decides who listens at a path.
pub(crate) struct Shared {
    /// Device and inode of the socket's file.
    pub(crate) file: (u64, u64),
    pub(crate) lock: OwnedFd,
    pub(crate) door: OwnedFd,
}

/// The way to that broker, and what it shares.
pub(crate) struct Succession {
    pub(crate) link: Link,
    pub(crate) process: BrokerProcess,
    pub(crate) path: PathBuf,
    pub(crate) shared: Shared,
    pub(crate) standing: Option<Standing>,
}
