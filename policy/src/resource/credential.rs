//! Where a secret is kept.

use std::fmt;

/// A secret, by where it is kept. The secret itself is never part of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Credential {
    /// A file of this name in `$CREDENTIALS_DIRECTORY`, see systemd.exec(5).
    Named(String),
    /// A file at this absolute path, which only its owner may read.
    File(String),
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "credential:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}
