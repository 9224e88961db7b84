//! Reads the policy file, provided that nobody untrusted could have written it.
//!
//! What is judged is what is read: the file is found by walking its path directory by directory, and the checks are
//! made on the very descriptors that the walk goes through and the text is read from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fdbroker_policy::{Finding, Findings, Policy, Uid, load};

use crate::SystemNames;
use crate::writers::{self, Found};

/// The greatest policy file that is read, in bytes: 16 MiB.
pub const MAX_POLICY_BYTES: u64 = 16 << 20;

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
    /// The file was read and refused.
    Findings(Findings),
}

/// Reads the text of a policy file that only `trusted` users could have written.
///
/// The file must be a regular file of at most [`MAX_POLICY_BYTES`] in UTF-8. It and every directory that leads to it,
/// also by way of symbolic links, must belong to a trusted user and be writable neither for a group nor for others;
/// a directory with the sticky bit may be.
///
/// # Errors
/// [`PolicyFileError`], with everything that is wrong in one go.
pub fn read_policy(path: &Path, trusted: &[Uid]) -> Result<String, PolicyFileError> {
    let (text, findings) = read(path, trusted)?;
    Findings::new(findings).map_or(Ok(text), |findings| Err(PolicyFileError::Findings(findings)))
}

/// Reads and loads a policy file that only root and the effective user of this process could have written.
///
/// Gives its text too, for whoever must judge by the same policy. Names are looked up in [`SystemNames`]; this can block.
///
/// # Errors
/// [`PolicyFileError`], with everything that is wrong with the file and its text in one go.
pub fn load_policy(path: &Path) -> Result<(String, Policy), PolicyFileError> {
    let trusted = [Uid::ROOT, Uid(rustix::process::geteuid().as_raw())];
    let (text, findings) = read(path, &trusted)?;
    let loaded = load(&path.to_string_lossy(), &text, &SystemNames);
    match (Findings::new(findings), loaded) {
        (None, Ok(policy)) => Ok((text, policy)),
        (Some(findings), Ok(_)) | (None, Err(findings)) => Err(PolicyFileError::Findings(findings)),
        (Some(about_file), Err(about_text)) => {
            Err(PolicyFileError::Findings(about_file.and(about_text)))
        }
    }
}

/// The text, and what is wrong with who could have written it.
fn read(path: &Path, trusted: &[Uid]) -> Result<(String, Vec<Finding>), PolicyFileError> {
    let Found { file, findings } = writers::open(path, trusted)?;
    match text(file) {
        Ok(text) => Ok((text, findings)),
        Err(Unusable::Unreadable(source)) => Err(unreadable(path, source)),
        Err(Unusable::TooLarge) => {
            let wrong = Finding::about_file(
                shown(path),
                "the file is larger than 16 MiB",
                "make it smaller",
            );
            Err(refused(findings, wrong))
        }
        Err(Unusable::NotUtf8) => {
            let wrong =
                Finding::about_file(shown(path), "the file is not UTF-8", "save it as UTF-8");
            Err(refused(findings, wrong))
        }
    }
}

enum Unusable {
    Unreadable(io::Error),
    TooLarge,
    NotUtf8,
}

/// The content of a file. The limit counts what is read, whatever size the file claims to have.
fn text(file: File) -> Result<String, Unusable> {
    let mut bytes = Vec::new();
    file.take(MAX_POLICY_BYTES + 1).read_to_end(&mut bytes).map_err(Unusable::Unreadable)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > MAX_POLICY_BYTES) {
        return Err(Unusable::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| Unusable::NotUtf8)
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

impl fmt::Display for PolicyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => {
                write!(f, "there is no policy file {path:?}: write it, or name one that is there")
            }
            Self::Unreadable { path, source } => write!(f, "{path:?} cannot be read: {source}"),
            Self::Findings(findings) => findings.fmt(f),
        }
    }
}

impl std::error::Error for PolicyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::NotFound(_) | Self::Findings(_) => None,
        }
    }
}
