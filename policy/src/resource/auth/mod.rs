//! How the broker proves to a server who it is: one file for each kind of log-in. No value here is secret.

mod postgres;

use std::fmt;

pub use self::postgres::{PostgresAuth, PostgresMethod};

/// How a connection is authenticated: one kind each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// A PostgreSQL server.
    Postgres(PostgresAuth),
}

/// A secret, by where it is kept. The secret itself is never part of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Credential {
    /// A file of this name in `$CREDENTIALS_DIRECTORY`, see systemd.exec(5).
    Named(String),
    /// A file at this absolute path, which only its owner may read.
    File(String),
}

impl Auth {
    /// The key of the language that says so.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
        }
    }

    pub(super) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Postgres(auth) => auth.password.as_ref(),
        }
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(auth) => auth.fmt(f),
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "credential:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}
