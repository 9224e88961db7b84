//! Who a process is, and who the tests are.

use serde::{Deserialize, Serialize};

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Its user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
}

impl Ids {
    /// A user with a group of the same number, and no other.
    pub fn plain(uid: u32) -> Self {
        Self { uid, gid: uid, groups: Vec::new() }
    }

    /// The user and group of this process.
    pub fn own() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: Vec::new(),
        }
    }
}

/// Whether the tests may become other users and make device nodes.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
