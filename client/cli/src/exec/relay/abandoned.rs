//! Directories of relays that were killed before they could remove them: the next relay does.
//!
//! Each relay holds a lock on its directory, which the kernel releases at its end, whatever that is.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open, stat};
use rustix::process::geteuid;

/// How the names of the directories begin.
pub(super) const NAME: &str = "fdbroker-exec-";
/// How many are looked at.
const MOST: usize = 1000;
/// The permissions of such a directory.
const PERMISSIONS: u32 = 0o700;
/// A directory has it from the one that it is made in, and it permits nobody anything.
const SET_GROUP_ID: u32 = 0o2000;

/// Locks a directory until the descriptor is closed.
///
/// # Errors
/// If another process has locked it, if it has been removed in between, or if it is not this user's alone.
pub(super) fn lock(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(path, flags, Mode::empty())?;
    let status = fstat(&directory)?;
    let permissions = status.st_mode & 0o7777 & !SET_GROUP_ID;
    if status.st_uid != geteuid().as_raw() || permissions != PERMISSIONS {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    let now = stat(path)?;
    if (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(directory)
}

/// Removes those of this user in a directory that no process has locked.
pub(super) fn remove(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let named = |entry: &fs::DirEntry| entry.file_name().as_bytes().starts_with(NAME.as_bytes());
    for entry in entries.flatten().filter(named).take(MOST) {
        if let Ok(_lock) = lock(&entry.path()) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

    #[test]
    fn a_directory_that_has_inherited_its_group_is_one_of_them() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(format!("{NAME}inherited"));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2700)).unwrap();
        drop(lock(&path).unwrap());
        remove(parent.path());
        assert!(!path.exists());
    }

    #[test]
    fn what_nobody_has_locked_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(format!("{NAME}{name}"));
        let make = |name: &str, mode: u32| fs::DirBuilder::new().mode(mode).create(path(name));
        make("abandoned", 0o700).unwrap();
        fs::write(path("abandoned").join("socket"), "").unwrap();
        make("locked", 0o700).unwrap();
        let lock = lock(&path("locked")).unwrap();
        make("open", 0o755).unwrap();
        fs::create_dir(parent.path().join("other")).unwrap();
        symlink(parent.path().join("other"), path("link")).unwrap();
        remove(parent.path());
        assert!(!path("abandoned").exists() && parent.path().join("other").exists());
        for kept in ["locked", "open", "link"] {
            assert!(path(kept).exists(), "{kept}");
        }
        drop(lock);
        remove(parent.path());
        assert!(!path("locked").exists());
    }
}
