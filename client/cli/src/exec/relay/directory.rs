//! A directory for a socket that nobody but its user may reach: below XDG_RUNTIME_DIR, or the directory of temporary
//! files.

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fdbroker::environment;
use fdbroker_types::quoted;

use crate::failure::Failure;

/// How many names are tried.
const ATTEMPTS: usize = 16;

/// The directory. It is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes one of mode 0700.
    pub(super) fn new() -> Result<Self, Failure> {
        let parent = environment::path("XDG_RUNTIME_DIR").filter(|path| path.is_dir());
        let parent =
            parent.or_else(|| environment::path("TMPDIR")).unwrap_or_else(|| "/tmp".into());
        let mut outcome = Err(io::ErrorKind::AlreadyExists.into());
        for _ in 0..ATTEMPTS {
            outcome = attempt(&parent);
            if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
                break;
            }
        }
        outcome.map(Self).map_err(|error| {
            let parent = quoted(&parent);
            Failure::local(format_args!("exec: cannot make a directory in {parent}"), error)
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn attempt(parent: &Path) -> io::Result<PathBuf> {
    let random = RandomState::new().hash_one(std::process::id());
    let path = std::path::absolute(parent)?.join(format!("fdbroker-{random:016x}"));
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
