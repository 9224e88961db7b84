//! A daemon with a tag for upgrades, and upgraders of it.

use fdbroker::upgrader::Builder;
use fdbroker::{Connector, Tag, Upgrader};

use crate::{Daemon, PATIENCE};

/// Two tags with the rights that an upgrade takes, and no other; the second is serial.
pub const POLICY: &str = r#"
[tags.web]
id = 10
accept = ["tcp", "tcp-listener", "udp", "unix", "unix-listener", "unix-datagram", "pipe", "file", "none"]

[tags.serial]
id = 11
serial = true
accept = ["none"]

[[rules]]
id = "everyone"
allow = ["claim", "get", "add", "del", "tag", "list"]
slots = ["*"]
anyone = true
"#;

/// A tag of [`POLICY`] that is not serial.
pub const WEB: Tag = match Tag::new(10) {
    Some(tag) => tag,
    None => panic!("10 is a tag"),
};

/// One that is.
pub const SERIAL: Tag = match Tag::new(11) {
    Some(tag) => tag,
    None => panic!("11 is a tag"),
};

impl Daemon {
    /// A daemon with [`POLICY`].
    pub fn of_upgrades() -> Self {
        Self::with_policy(POLICY).start()
    }
}

/// Begins to build an upgrader of [`WEB`].
pub fn builder(daemon: &Daemon) -> Builder {
    of(daemon, WEB)
}

/// The same of another tag.
pub fn of(daemon: &Daemon, tag: Tag) -> Builder {
    let connector = Connector::new().socket(daemon.socket());
    Upgrader::builder(tag).connector(connector).patience(PATIENCE)
}

/// An upgrader that has its turn.
#[track_caller]
pub fn start(daemon: &Daemon) -> Upgrader {
    builder(daemon).start().unwrap()
}

/// An upgrader that serves, with whatever `prepare` adds.
#[track_caller]
pub fn serving(daemon: &Daemon, prepare: impl FnOnce(&Upgrader)) -> Upgrader {
    let upgrader = start(daemon);
    prepare(&upgrader);
    upgrader.ready().unwrap();
    upgrader
}
