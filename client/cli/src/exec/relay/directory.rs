//! A directory for a socket that nobody but its user may reach: below XDG_RUNTIME_DIR, or the directory of temporary
//! files.

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fdbroker::environment;
use fdbroker_types::quoted;

use super::abandoned;
use crate::failure::Failure;

/// How many names are tried.
const ATTEMPTS: usize = 16;

/// The directory. It is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// As long as it is held, no other relay removes the directory.
    _lock: OwnedFd,
}

impl Directory {
    /// Makes one of mode 0700, where those of relays that were killed are removed.
    pub(super) fn new() -> Result<Self, Failure> {
        let parent = environment::path("XDG_RUNTIME_DIR").filter(|path| path.is_dir());
        let parent =
            parent.or_else(|| environment::path("TMPDIR")).unwrap_or_else(|| "/tmp".into());
        abandoned::remove(&parent);
        let mut outcome = attempt(&parent);
        // The name can be taken, and another relay can take the directory for one that was left.
        for _ in 1..ATTEMPTS {
            outcome = outcome.or_else(|_| attempt(&parent));
        }
        outcome.map_err(|error| {
            let parent = quoted(&parent);
            Failure::local(format_args!("exec: cannot make a directory in {parent}"), error)
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn attempt(parent: &Path) -> io::Result<Directory> {
    let random = RandomState::new().hash_one(std::process::id());
    let path = std::path::absolute(parent)?.join(format!("{}{random:016x}", abandoned::NAME));
    DirBuilder::new().mode(0o700).create(&path)?;
    let lock = abandoned::lock(&path)?;
    Ok(Directory { path, _lock: lock })
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_dir_all(&self.path);
    }
}
