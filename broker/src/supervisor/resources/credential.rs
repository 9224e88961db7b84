//! Credentials: where one is kept, whether it is kept well, and how a helper gets it.
//!
//! A helper gets a copy in memory that nobody can change. No error shows anything of what is in it.

use std::fs::File;
use std::os::fd::OwnedFd;

use fdbroker_host::{Stamp, credential_fault, open_credential};
use fdbroker_policy::{Credential, Uid};
use fdbroker_types::quoted;
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::sealed::{read_all, sealed};
use crate::helper::secret::MAX_SECRET;

/// Where systemd puts a unit's credentials, see systemd.exec(5).
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Reads a credential into memory for a helper.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(super) fn in_memory(credential: &Credential) -> Result<OwnedFd, String> {
    let path = path(credential)?;
    let failed = |what: String| format!("{credential} ({}): {what}", quoted(&path));
    let file = open_credential(&path).map_err(|error| failed(not_opened(error)))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    if let Some(fault) = credential_fault(&metadata, Uid(geteuid().as_raw())) {
        return Err(failed(fault.to_string()));
    }
    let secret = read_secret(&file).map_err(failed)?;
    sealed(without_newline(&secret)).map_err(|error| failed(format!("no memory for it: {error}")))
}

/// Returns what changes whenever a credential is written or replaced; `None` while it cannot be opened.
pub(super) fn stamp(credential: &Credential) -> Option<Stamp> {
    let file = open_credential(&path(credential).ok()?).ok()?;
    Stamp::of(&file).ok()
}

fn path(credential: &Credential) -> Result<String, String> {
    match credential {
        Credential::File(path) => Ok(path.clone()),
        Credential::Named(name) => {
            let directory = std::env::var(DIRECTORY).map_err(|_| {
                format!(
                    "{credential}: the broker has no ${DIRECTORY}; add LoadCredential={name}:PATH \
                     to the unit, or write \"file:PATH\""
                )
            })?;
            Ok(format!("{}/{name}", directory.trim_end_matches('/')))
        }
    }
}

/// What to do about a file that cannot be opened.
pub(super) fn not_opened(error: Errno) -> String {
    let cure = match error {
        Errno::NOENT => "write it to that file, or correct the path",
        Errno::LOOP => "the path contains a symbolic link; write the path without it",
        _ => "see open(2)",
    };
    format!("cannot be opened: {error}; {cure}")
}

fn read_secret(file: &File) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = read_all(file, MAX_SECRET)?;
    if without_newline(&bytes).is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(bytes)
}

/// What an editor adds is no part of a password.
fn without_newline(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use rustix::io::write;

    use super::*;
    use crate::helper::secret::Secret;

    fn file(path: &Path) -> Credential {
        Credential::File(path.to_str().unwrap().to_owned())
    }

    fn written(directory: &tempfile::TempDir, content: &[u8], mode: u32) -> Credential {
        let path = directory.path().join("password");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        file(&path)
    }

    #[test]
    fn a_helper_reads_what_nobody_can_change() {
        for (content, expected) in [
            (&b"hunter2"[..], &b"hunter2"[..]),
            (b"a\n", b"a"),
            (b"a\r\n", b"a"),
            (b"a\n\n", b"a\n"),
        ] {
            // A file of mode 400 cannot be written again.
            let directory = tempfile::tempdir().unwrap();
            let memory = in_memory(&written(&directory, content, 0o400)).unwrap();
            assert_eq!(Secret::read(&memory).unwrap().bytes(), expected);
            assert_eq!(write(&memory, b"x"), Err(Errno::PERM));
            assert_eq!(rustix::fs::ftruncate(&memory, 0), Err(Errno::PERM));
        }
    }

    #[test]
    fn one_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let error = in_memory(&written(&directory, b"hunter2", mode)).unwrap_err();
            assert!(error.contains("others than its owner may use it (mode 0"), "{error}");
            assert!(!error.contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_credential_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("it");
        let said = |credential: &Credential| in_memory(credential).unwrap_err();
        assert!(said(&file(&path)).contains("write it to that file"));
        assert!(said(&written(&directory, b"\n", 0o600)).ends_with("it is empty"));
        let large = vec![b'x'; MAX_SECRET + 1];
        assert!(said(&written(&directory, &large, 0o600)).ends_with("larger than 65536 bytes"));
        symlink(directory.path().join("password"), &path).unwrap();
        assert!(said(&file(&path)).contains("symbolic link"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(said(&file(&path)).ends_with("not a regular file"));
        fs::remove_dir(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(said(&file(&path)).ends_with("not a regular file"));
    }
}
