//! A directory of a test's own, that other users can look into but not write to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::binaries::copy_program;

/// Removed, with all that is in it, when dropped.
#[derive(Debug)]
pub struct Directory(tempfile::TempDir);

impl Directory {
    /// A new one, mode 0755.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("fdbroker-test-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(directory)
    }

    /// Its own path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of something in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file of mode 0600; returns its path.
    pub fn private_file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.file(name, content, 0o600)
    }

    /// Writes a file; returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Writes a script that can be executed at once: see [`copy_program`]. Returns its path.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let written = self.file(&format!("{name}.written"), text, 0o644);
        let script = self.join(name);
        copy_program(&written, &script);
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        script
    }

    /// Makes another user its owner, who may then make files in it.
    pub fn give_to(&self, ids: &crate::Ids) {
        std::os::unix::fs::chown(self.path(), Some(ids.uid), Some(ids.gid)).unwrap();
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}
