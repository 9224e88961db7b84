//! A file that only the user of this process may read or write, and that is replaced as a whole.
//!
//! It is believed only if nobody else could have written it: the file, and every directory and link on the way to it, are
//! judged as those of a policy are.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use fdbroker_policy::{Finding, Uid};
use rustix::process::geteuid;

use crate::credential::{CredentialFault, credential_fault};
use crate::error::PolicyFileError;
use crate::writers::{self, Found};

/// Why a private file is not believed, or cannot be read.
#[derive(Debug)]
pub enum PrivateFileError {
    /// It cannot be opened or read.
    Unreadable(io::Error),
    /// Another user could have written it.
    Untrusted(String),
    /// Others may use it.
    Fault(CredentialFault),
    /// It is longer than so many bytes, or not UTF-8.
    NotText(u64),
}

/// Reads a private file of at most `limit` bytes. `None` if there is none.
///
/// # Errors
/// [`PrivateFileError`].
pub fn read_private_file(path: &Path, limit: u64) -> Result<Option<String>, PrivateFileError> {
    let own = Uid(geteuid().as_raw());
    let Found { file, findings } = match writers::open(path, &[Uid::ROOT, own]) {
        Err(PolicyFileError::NotFound(_)) => return Ok(None),
        Err(PolicyFileError::Unreadable { source, .. }) => {
            return Err(PrivateFileError::Unreadable(source));
        }
        Err(error) => return Err(PrivateFileError::Untrusted(error.to_string())),
        Ok(found) => found,
    };
    let metadata = file.metadata().map_err(PrivateFileError::Unreadable)?;
    if let Some(fault) = credential_fault(&metadata, own) {
        return Err(PrivateFileError::Fault(fault));
    }
    if let Some(Finding { path, message, .. }) = findings.first() {
        return Err(PrivateFileError::Untrusted(format!("{path}: {message}")));
    }
    text(file, limit).map(Some)
}

fn text(file: File, limit: u64) -> Result<String, PrivateFileError> {
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let read = read.map_err(PrivateFileError::Unreadable)?;
    if u64::try_from(read).map_or(true, |read| read > limit) {
        return Err(PrivateFileError::NotText(limit));
    }
    String::from_utf8(bytes).map_err(|_| PrivateFileError::NotText(limit))
}

/// Replaces a private file as a whole: after a crash there is the old one or the new one. Makes its directory if
/// there is none.
///
/// # Errors
/// What the system says; then the old file is still there.
pub fn write_private_file(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text, true)
}

/// The same of a file that a crash of the machine may take: it is not waited for the disk.
///
/// # Errors
/// As [`write_private_file`].
pub(crate) fn write_passing_file(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text, false)
}

fn replace(path: &Path, text: &str, lasts: bool) -> io::Result<()> {
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    make_directory(directory)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = directory.join(beside);
    remove_private_file(&beside)?;
    let written = write_new(&beside, text, lasts);
    let replaced = written.and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // It may be half written, and takes room.
        let _ = remove_private_file(&beside);
    }
    replaced?;
    if lasts { File::open(directory)?.sync_all() } else { Ok(()) }
}

fn write_new(path: &Path, text: &str, lasts: bool) -> io::Result<()> {
    // It is made here, so no link of somebody else's is followed.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    if lasts { file.sync_all() } else { Ok(()) }
}

/// Removes a private file, if there is one.
///
/// # Errors
/// What the system says.
pub fn remove_private_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

impl fmt::Display for PrivateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::Untrusted(problem) => f.write_str(problem),
            Self::Fault(fault) => fault.fmt(f),
            Self::NotText(limit) => write!(f, "it is not UTF-8, or longer than {limit} bytes"),
        }
    }
}

impl std::error::Error for PrivateFileError {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    const LIMIT: u64 = 100;

    fn read(path: &Path) -> Result<Option<String>, PrivateFileError> {
        read_private_file(path, LIMIT)
    }

    #[test]
    fn what_is_written_is_read_and_nobody_else_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/kept");
        assert!(read(&path).unwrap().is_none());
        for text in ["first", "second"] {
            write_private_file(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(text));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        remove_private_file(&path).unwrap();
        remove_private_file(&path).unwrap();
        assert!(read(&path).unwrap().is_none());
    }

    #[test]
    fn what_a_crash_left_behind_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kept");
        fs::write(directory.path().join(".kept.new"), "half").unwrap();
        write_private_file(&path, "whole").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("whole"));
    }

    #[test]
    fn nothing_half_done_is_left_where_it_fails() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kept");
        fs::create_dir(&path).unwrap();
        write_private_file(&path, "text").unwrap_err();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_others_could_read_or_write_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/kept");
        write_private_file(&path, "text").unwrap();
        for mode in [0o640, 0o602] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(PrivateFileError::Fault(_))), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let parent = path.parent().unwrap();
        fs::set_permissions(parent, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(read(&path), Err(PrivateFileError::Untrusted(_))));
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kept");
        write_private_file(&path, &"x".repeat(101)).unwrap();
        assert!(matches!(read(&path), Err(PrivateFileError::NotText(LIMIT))));
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(read(&path), Err(PrivateFileError::NotText(LIMIT))));
    }
}
