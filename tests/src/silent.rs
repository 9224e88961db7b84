//! A file system whose server never answers: whoever opens a file there waits for as long as it is mounted.

use std::path::PathBuf;

use crate::fuse::Fuse;

/// Unmounted when dropped; then whoever waits fails.
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
