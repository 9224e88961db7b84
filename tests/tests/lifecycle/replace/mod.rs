//! A new broker takes over from one that runs (`--replace`).
//!
//! - [`asking`]: who may ask for that
//! - [`dies`]: the old one is killed in between
//! - [`fails`]: the new one does not come up, at each step
//! - [`kept`]: what it takes over
//! - [`load`]: under load, again and again
//! - [`waits`]: who waits for a turn

mod asking;
mod dies;
mod fails;
mod kept;
mod load;
mod waits;

use std::path::PathBuf;

use fdbroker_tests::{Builder, Daemon, Directory, fixtures};

/// Where brokers that replace each other listen: it outlives each of them.
struct Site {
    directory: Directory,
    policy: String,
}

impl Site {
    fn new() -> Self {
        Self::with_policy(fixtures::OPEN)
    }

    fn with_policy(policy: &str) -> Self {
        const OPERATORS: &str =
            "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
        Self { directory: Directory::new(), policy: format!("{policy}{OPERATORS}") }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// A broker that listens here.
    fn broker(&self) -> Builder {
        Daemon::with_policy(&self.policy).socket(self.socket())
    }

    /// One that takes over.
    fn newer(&self) -> Builder {
        self.broker().argument("--replace")
    }

    /// Has another one take over; returns it.
    #[track_caller]
    fn replace(&self, mut former: Daemon) -> Daemon {
        let newer = self.newer().start();
        former.is_replaced();
        newer
    }
}

/// What the log says when a broker goes on.
const GOES_ON: &str = "this broker goes on";
