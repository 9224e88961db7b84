//! The harness of the integration tests: a real daemon, peers that keep to no rule, other users.
//!
//! Every test starts a daemon of its own ([`Daemon`]) in a directory of its own and talks to it
//! with bytes that it makes itself ([`Peer`]); where another user has to do so, a helper process
//! that has become that user does ([`Person`]). Nothing here waits by hoping: [`wait_until`] looks
//! for a condition and gives up after [`PATIENCE`], which only a hang can reach.
//!
//! Where the broker is to run under a service manager, the machine's own is booted in namespaces
//! ([`systemd::ServiceManager`]).
//!
//! What needs root or a feature of the kernel is skipped aloud, with [`skip`].

pub mod answer;
pub mod binaries;
pub mod builder;
pub mod claims;
pub mod command;
pub mod daemon;
pub mod directory;
pub mod example;
pub mod hands;
pub mod hostile;
pub mod load;
pub mod log;
pub mod model;
pub mod peer;
pub mod person;
pub mod process;
pub mod request;
pub mod sample;
pub mod siege;
pub mod stuck;
pub mod successor;
pub mod sys;
pub mod systemd;
pub mod upgrades;
pub mod waiting;

pub use answer::Answer;
pub use builder::Builder;
pub use command::Said;
pub use daemon::Daemon;
pub use directory::Directory;
pub use example::Example;
pub use log::{Line, Log};
pub use peer::Peer;
pub use person::Person;
pub use process::Descriptors;
pub use waiting::{PATIENCE, wait_for, wait_until};

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// Where a deposit lies, as the numbers on the wire: also those that no slot has.
pub type Place = (i16, i32);

/// Whom the worker runs as, where the tests run as root.
pub const WORKER: u32 = 64001;

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

/// Says that something is not tested here, and why: aloud, also where the test harness keeps
/// what tests print to itself.
pub fn skip(what: &str, reason: &str) {
    let line = format!("skipped: {what}: {reason}\n");
    // Where standard error is closed there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Whether the test `what` can become other users; says so aloud where it cannot.
pub fn needs_root(what: &str) -> bool {
    if !is_root() {
        skip(what, "only root can become other users");
    }
    is_root()
}
