//! A note beside the socket of which policy is in force, as long as that policy is not kept.
//!
//! The directory of the copy may have become read-only. Then the older copy stays, and may allow what was revoked. The
//! runtime directory is still writable; what it has lasts until the next boot.

use std::io;
use std::path::{Path, PathBuf};

use fdbroker_host::{read_private_file, remove_private_file, write_private_file};
use fdbroker_types::quoted;

/// A hash takes 64 bytes.
const MAX_BYTES: u64 = 128;

/// The file of the note.
#[derive(Clone, Debug)]
pub(crate) struct InForce(PathBuf);

impl InForce {
    pub(crate) fn beside(socket: &Path) -> Self {
        let mut name = socket.as_os_str().to_owned();
        name.push(".policy");
        Self(name.into())
    }

    /// Notes the hash of the policy in force.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn note(&self, sha256: &str) -> io::Result<()> {
        write_private_file(&self.0, sha256)
    }

    /// The policy in force is kept: nothing is to be noted.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn forget(&self) -> io::Result<()> {
        remove_private_file(&self.0)
    }

    /// Whether a copy with this hash may be used: no other policy was in force since.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn permits(&self, sha256: &str) -> Result<(), String> {
        let path = quoted(&self.0);
        match read_private_file(&self.0, MAX_BYTES) {
            Ok(None) => Ok(()),
            Ok(Some(noted)) if noted == sha256 => Ok(()),
            Ok(Some(_)) => Err(format!(
                "another policy was in force after it, and could not be kept; the note {path} says so"
            )),
            Err(error) => Err(format!(
                "the note {path} of the policy that was in force is of no use: {error}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_policy_that_is_noted_is_permitted() {
        let directory = tempfile::tempdir().unwrap();
        let note = InForce::beside(&directory.path().join("socket"));
        note.permits("older").unwrap();
        note.note("newer").unwrap();
        note.permits("newer").unwrap();
        let why = note.permits("older").unwrap_err();
        assert!(why.contains("socket.policy"), "{why}");
        std::fs::write(&note.0, "x".repeat(200)).unwrap();
        note.permits("newer").unwrap_err();
        note.forget().unwrap();
        note.permits("older").unwrap();
    }
}
