//! Reads the policy file and its drop-ins, provided that nobody untrusted could have written them.
//!
//! What is judged is what is read: each file is found by walking its path directory by directory, and the checks are
//! made on the very descriptors that the walk goes through and the text is read from.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fdbroker_policy::{Finding, Findings, Policy, SourceText, Uid, load};

use crate::SystemNames;
use crate::writers::{self, Found, Listed};

/// The most that is read of a policy, in bytes and all files together: 16 MiB.
pub const MAX_POLICY_BYTES: u64 = 16 << 20;

/// The directory of drop-ins, beside the policy file.
const DROP_INS: &str = "policy.d";

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

/// Reads the texts of a policy that only `trusted` users could have written: the file, then its drop-ins.
///
/// Drop-ins are the files `*.toml` of the directory `policy.d` beside the file, in the order of their names; those that
/// begin with a dot are left out. Each must be a regular file in UTF-8, all of them together at most
/// [`MAX_POLICY_BYTES`]. They and every directory that leads to them, also by way of symbolic links, must belong to a
/// trusted user and be writable neither for a group nor for others; a directory with the sticky bit may be.
///
/// # Errors
/// [`PolicyFileError`], with everything that is wrong in one go.
pub fn read_policy(path: &Path, trusted: &[Uid]) -> Result<Vec<SourceText>, PolicyFileError> {
    let (sources, findings) = read(path, trusted)?;
    Findings::new(findings).map_or(Ok(sources), |findings| Err(PolicyFileError::Findings(findings)))
}

/// Reads and loads a policy that only root and the effective user of this process could have written.
///
/// Gives its texts too, for whoever must judge by the same policy. Names are looked up in [`SystemNames`]; this can block.
///
/// # Errors
/// [`PolicyFileError`], with everything that is wrong with the files and their texts in one go.
pub fn load_policy(path: &Path) -> Result<(Vec<SourceText>, Policy), PolicyFileError> {
    let trusted = [Uid::ROOT, Uid(rustix::process::geteuid().as_raw())];
    let (sources, findings) = read(path, &trusted)?;
    let loaded = load(&sources, &SystemNames);
    match (Findings::new(findings), loaded) {
        (None, Ok(policy)) => Ok((sources, policy)),
        (Some(findings), Ok(_)) | (None, Err(findings)) => Err(PolicyFileError::Findings(findings)),
        (Some(about_file), Err(about_text)) => {
            Err(PolicyFileError::Findings(about_file.and(about_text)))
        }
    }
}

/// The files of a policy whoever could have written them: the file itself, then its drop-ins.
///
/// For whoever only wants to know what they say. The file need not exist.
///
/// # Errors
/// What the kernel says where the directory of drop-ins is there and cannot be read.
pub fn policy_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = drop_in_directory(path);
    let mut drop_ins = Vec::new();
    match std::fs::read_dir(&directory) {
        Ok(entries) => {
            for entry in entries {
                drop_ins.push(entry?.file_name());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let drop_ins = in_order(drop_ins).into_iter().map(|name| directory.join(name));
    Ok(std::iter::once(path.to_owned()).chain(drop_ins).collect())
}

/// The texts, and what is wrong with who could have written them.
fn read(path: &Path, trusted: &[Uid]) -> Result<(Vec<SourceText>, Vec<Finding>), PolicyFileError> {
    let mut files = Reading { trusted, left: MAX_POLICY_BYTES, ..Reading::default() };
    let drop_ins = files.drop_ins(path)?;
    files.read(path).map_err(|error| match error {
        // A policy was meant to be there: going on as if there were none would be something else.
        PolicyFileError::NotFound(path) if !drop_ins.is_empty() => gone(&path),
        error => error,
    })?;
    for drop_in in drop_ins {
        files.read(&drop_in).map_err(|error| match error {
            PolicyFileError::NotFound(path) => gone(&path),
            error => error,
        })?;
    }
    Ok((files.sources, files.findings))
}

/// What was read so far.
#[derive(Default)]
struct Reading<'a> {
    trusted: &'a [Uid],
    /// Bytes that may still be read.
    left: u64,
    sources: Vec<SourceText>,
    findings: Vec<Finding>,
}

impl Reading<'_> {
    /// The paths of the drop-ins, in order.
    fn drop_ins(&mut self, path: &Path) -> Result<Vec<PathBuf>, PolicyFileError> {
        let directory = drop_in_directory(path);
        let Some(Listed { names, findings }) = writers::list(&directory, self.trusted)? else {
            return Ok(Vec::new());
        };
        self.find(findings);
        Ok(in_order(names).into_iter().map(|name| directory.join(name)).collect())
    }

    fn read(&mut self, path: &Path) -> Result<(), PolicyFileError> {
        let Found { file, findings } = writers::open(path, self.trusted)?;
        self.find(findings);
        let (message, remedy) = match text(file, self.left) {
            Ok(text) => {
                self.left = self.left.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
                self.sources.push(SourceText { path: shown(path), text });
                return Ok(());
            }
            Err(Unusable::Unreadable(source)) => return Err(unreadable(path, source)),
            Err(Unusable::NotUtf8) => ("the file is not UTF-8", "save it as UTF-8"),
            Err(Unusable::TooLarge) if self.sources.is_empty() => {
                ("the file is larger than 16 MiB", "make it smaller")
            }
            Err(Unusable::TooLarge) => {
                ("with this file the policy is larger than 16 MiB", "make it smaller")
            }
        };
        let wrong = Finding::about_file(shown(path), message, remedy);
        Err(refused(std::mem::take(&mut self.findings), wrong))
    }

    /// Takes findings down, each once: several files lie in one directory.
    fn find(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }
}

fn drop_in_directory(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(DROP_INS)
}

/// The names that are drop-ins, in order.
fn in_order(mut names: Vec<OsString>) -> Vec<OsString> {
    let is_drop_in = |name: &OsStr| {
        let name = name.as_bytes();
        name.ends_with(b".toml") && !name.starts_with(b".")
    };
    names.retain(|name| is_drop_in(name));
    names.sort();
    names
}

/// Of a file that must be there.
fn gone(path: &Path) -> PolicyFileError {
    unreadable(path, io::Error::from(io::ErrorKind::NotFound))
}

enum Unusable {
    Unreadable(io::Error),
    TooLarge,
    NotUtf8,
}

/// The content of a file. The limit counts what is read, whatever size the file claims to have.
fn text(file: File, limit: u64) -> Result<String, Unusable> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Unusable::Unreadable)?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > limit) {
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
