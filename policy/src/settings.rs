//! The broker's own settings: whom the worker runs as, and the limits that hold for every peer.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::Uid;

/// The table `[broker]` of a policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whom the worker runs as when root starts the broker.
    pub user: Account,
    /// Connections at one time, of all users together.
    pub max_connections: u32,
    /// Connections at one time, of one user.
    pub max_connections_per_uid: u32,
    /// Deposits of one user; resources do not count.
    pub max_slots_per_uid: u32,
    /// Bytes of payload in the deposits of one user.
    pub max_payload_bytes_per_uid: u64,
    /// Time for the rest of a message whose first byte has come.
    pub frame_timeout: Duration,
    /// What becomes of a request whose decision cannot be recorded.
    pub audit: Audit,
    /// Requests of one user that are served in a second; `None` is any number.
    pub requests_per_second: Option<NonZeroU32>,
    /// Records that one user causes in a second, of what is not granted.
    pub records_per_second: NonZeroU32,
}

/// The rates that a rule sets, for each user; `None` is that of [`Settings`] alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rates {
    /// Requests that the rule grants and that are served in a second.
    pub requests_per_second: Option<NonZeroU32>,
    /// Records in a second, of what the rule decides and does not grant.
    pub records_per_second: Option<NonZeroU32>,
}

/// What becomes of a request whose decision cannot be recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Audit {
    /// It is refused.
    Required,
    /// It is served, and the loss is told.
    #[default]
    BestEffort,
}

/// A user, by name or by number. The name is not yet looked up, and a number need not have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By name.
    Name(String),
    /// By number.
    Number(Uid),
}

impl Audit {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Required, Self::BestEffort];

    /// The name in the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best-effort",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user: Account::Name("fdbroker".to_owned()),
            max_connections: 4096,
            max_connections_per_uid: 256,
            max_slots_per_uid: 16384,
            max_payload_bytes_per_uid: 64 << 20,
            frame_timeout: Duration::from_secs(10),
            audit: Audit::default(),
            requests_per_second: None,
            records_per_second: const { NonZeroU32::new(100).unwrap() },
        }
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(uid) => uid.fmt(f),
        }
    }
}
