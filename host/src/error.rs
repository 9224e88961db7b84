//! Why a policy could not be read from files, and the messages that say so.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use fdbroker_policy::{Finding, Findings};
use fdbroker_types::quoted;

/// How often the files are read before they are given up because they keep changing.
pub(crate) const ATTEMPTS: usize = 5;

/// Why there is no policy from a file.
#[derive(Debug)]
pub enum PolicyFileError {
    /// There is no such file. A symbolic link that leads nowhere is not this: it is unreadable.
    NotFound(PathBuf),
    /// The file, or a directory above it, cannot be read.
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The file or one of its drop-ins changed each time while it was read.
    Changing(PathBuf),
    /// The file was read and refused.
    Findings(Findings),
}

impl fmt::Display for PolicyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => {
                write!(
                    f,
                    "there is no policy file {path}: create it, or name a file that exists",
                    path = quoted(path)
                )
            }
            Self::Unreadable { path, source } => {
                write!(f, "{path} cannot be read: {source}", path = quoted(path))
            }
            Self::Changing(path) => write!(
                f,
                "the policy file {path} or a drop-in changed during each of {ATTEMPTS} attempts \
                 to read it: save it, \
                 and load it again",
                path = quoted(path)
            ),
            Self::Findings(findings) => findings.fmt(f),
        }
    }
}

impl std::error::Error for PolicyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::NotFound(_) | Self::Changing(_) | Self::Findings(_) => None,
        }
    }
}

pub(crate) fn refused(mut findings: Vec<Finding>, last: Finding) -> PolicyFileError {
    findings.push(last.clone());
    PolicyFileError::Findings(Findings::new(findings).unwrap_or_else(|| last.into()))
}

pub(crate) fn unreadable(path: &Path, source: impl Into<io::Error>) -> PolicyFileError {
    PolicyFileError::Unreadable { path: path.to_owned(), source: source.into() }
}

pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
