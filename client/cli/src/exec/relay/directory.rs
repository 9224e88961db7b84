//! A directory for a socket that nobody but its user may reach: below XDG_RUNTIME_DIR, or a directory of temporary
//! files.

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fdbroker_types::quoted;
use rustix::process::geteuid;

use super::{abandoned, parent};
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
    /// Makes one of mode 0700 in the first place that is safe and lets us. Directories of relays that were killed are
    /// removed there.
    pub(super) fn new() -> Result<Self, Failure> {
        Self::in_first(parent::candidates())
    }

    fn in_first(candidates: impl Iterator<Item = PathBuf>) -> Result<Self, Failure> {
        let mut passed_over = Vec::new();
        for candidate in candidates {
            match Self::below(&candidate) {
                Ok(directory) => return Ok(directory),
                Err(error) => passed_over.push(format!("not in {}: {error}", quoted(&candidate))),
            }
        }
        let passed_over = passed_over.join("; ");
        Err(Failure::local("exec: cannot make a directory for the socket", passed_over))
    }

    fn below(candidate: &Path) -> io::Result<Self> {
        let parent = parent::checked(candidate, geteuid().as_raw())?;
        abandoned::remove(&parent);
        let mut outcome = attempt(&parent);
        // The name can be taken, and another relay can take the directory for one that was left.
        for _ in 1..ATTEMPTS {
            outcome = outcome.or_else(|_| attempt(&parent));
        }
        outcome
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
    let path = parent.join(format!("{}{random:016x}", abandoned::NAME));
    DirBuilder::new().mode(0o700).create(&path)?;
    match abandoned::lock(&path) {
        Ok(lock) => Ok(Directory { path, _lock: lock }),
        Err(error) => {
            // Another relay may have removed it.
            let _ = fs::remove_dir(&path);
            Err(error)
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_safe_place_is_taken_or_each_is_named() {
        let place = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let missing = place.path().join("missing");
        let (open, good) = (make("open", 0o777), make("good", 0o3777));
        let bad = [missing.clone(), open.clone()].into_iter();
        let made = Directory::in_first(bad.clone().chain([good.clone()])).unwrap();
        assert!(made.path().starts_with(good.canonicalize().unwrap()));
        drop(made);
        let failure = Directory::in_first(bad).unwrap_err().to_string();
        for expected in [format!("not in {}: ", quoted(&missing)), "not sticky".to_owned()] {
            assert!(failure.contains(&expected), "{failure}");
        }
        for left in [open, good] {
            assert_eq!(fs::read_dir(left).unwrap().count(), 0);
        }
    }
}
