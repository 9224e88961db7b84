//! A file system whose server never answers: a process that opens a file there waits for as long as
//! it is mounted.

use std::path::PathBuf;

use crate::fuse::Fuse;

/// Unmounted when dropped; then every wait fails.
#[derive(Debug)]
pub struct SilentFiles(Fuse);

impl SilentFiles {
    /// Mounts one. `None`, said aloud, where that cannot be.
    pub fn mount() -> Option<Self> {
        Fuse::mount("an open that does not end").map(Self)
    }

    /// The path of a file there.
    pub fn file(&self) -> PathBuf {
        self.0.file()
    }
}
