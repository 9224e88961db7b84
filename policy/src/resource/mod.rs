//! A slot that the broker itself fills by opening something. What is told of one kind only is in a file of its own.

mod auth;
mod connect;
mod credential;
mod lease;
mod path;
mod ready;
mod tls;

use std::fmt;
use std::time::Duration;

pub use self::auth::{
    Auth, BadScriptStep, ImapAuth, MysqlAuth, MysqlMethod, PostgresAuth, PostgresMethod,
    ProgramAuth, ProxyAuth, ProxyTarget, RedisAuth, ScriptAuth, ScriptFill, ScriptPart, ScriptStep,
    ScriptText, SmtpAuth,
};
pub use self::connect::{ConnectSource, ServerAddress};
pub use self::credential::Credential;
pub use self::lease::LeaseTerms;
pub use self::path::{Access, DeviceNumber, PathSource};
pub use self::ready::Ready;
pub use self::tls::{ClientCertificate, Tls, TlsMode, TlsStart};
use crate::{Kind, Slot};

/// One table `[resources.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What the policy calls it.
    pub name: String,
    /// Where callers find it.
    pub slot: Slot,
    /// What is opened.
    pub source: Source,
    /// When it is opened, and who shares the result.
    pub opening: Opening,
    /// How long a caller waits for it to be opened.
    pub open_timeout: Duration,
    /// What is opened ahead.
    pub ready: Option<Ready>,
    /// On which terms a caller has it; for ever if there are none.
    pub lease: Option<LeaseTerms>,
    /// Linux capabilities that opening it needs: lower case, without `cap_`, each once.
    pub capabilities: Vec<String>,
}

impl Resource {
    /// How long a caller waits if the policy does not say.
    pub const DEFAULT_OPEN_TIMEOUT: Duration = Duration::from_secs(10);

    /// Whether it is a connection: to make one can take long, and a caller may wait for a place among the holders.
    #[must_use]
    pub const fn is_connection(&self) -> bool {
        matches!(self.source, Source::Connect(_))
    }
}

/// The position of a resource in its policy, in the order of the file, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceIndex(pub u32);

/// What a resource is, with all that opening it takes: one kind each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A character or block device.
    Device {
        /// Where it is.
        at: PathSource,
        /// The device number expected once it is open.
        number: Option<DeviceNumber>,
    },
    /// A regular file.
    File {
        /// Where it is.
        at: PathSource,
    },
    /// A connection to a server.
    Connect(ConnectSource),
}

/// When a resource is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Opening {
    /// At each request, so that every caller has an open file description of its own; the default.
    #[default]
    PerRequest,
    /// Once, when the broker starts; all callers share the open file description, its offset and its flags.
    Startup,
}

impl Source {
    /// The key of the language that says so.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Device { .. } => "device",
            Self::File { .. } => "file",
            Self::Connect(_) => "connect",
        }
    }

    /// Returns what its descriptor is, or `None` if that is known only once it is open.
    #[must_use]
    pub fn descriptor_kind(&self) -> Option<Kind> {
        match self {
            Self::Device { .. } => None,
            Self::File { .. } => Some(Kind::File),
            Self::Connect(connect) => connect.kind(),
        }
    }

    /// Returns the capability that opening one of this kind takes beside the file mode, whatever
    /// the policy names. `found` returns the number of a device for which the policy names none.
    #[must_use]
    pub fn implied_capability(
        &self,
        found: impl FnOnce(&str) -> Option<DeviceNumber>,
    ) -> Option<&'static str> {
        match self {
            Self::Device { at, number } => path::guard_of(at, number.or_else(|| found(&at.path))),
            Self::File { .. } | Self::Connect(_) => None,
        }
    }

    /// Returns the keys of the language that only this kind has, and what they mean: a default is written out.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Device { at, number } => path::entries(self.name(), at, *number),
            Self::File { at } => path::entries(self.name(), at, None),
            Self::Connect(connect) => connect::entries(connect),
        }
    }
}

impl Opening {
    /// Both ways, in the order of the reference.
    pub const ALL: [Self; 2] = [Self::PerRequest, Self::Startup];

    /// The word of the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerRequest => "per-request",
            Self::Startup => "startup",
        }
    }
}

impl ResourceIndex {
    /// The position as an index into [`crate::Policy::resources`].
    #[must_use]
    pub fn position(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
