//! All that was taken over from a broker, until it is committed.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use fdbroker_host::Standing;

use crate::supervisor::workers::link::Link;

/// The way to that broker, and what it shares.
pub(crate) struct Succession {
    pub(crate) link: Link,
    pub(crate) pid: i32,
    pub(crate) path: PathBuf,
    pub(crate) lock: OwnedFd,
    pub(crate) door: OwnedFd,
    pub(crate) standing: Option<Standing>,
}
