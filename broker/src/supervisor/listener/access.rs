//! Who may connect to a socket file: copies its mode, owner and group to the file that replaces it.
//!
//! The supervisor has no CAP_CHOWN. It makes the file in the old group by joining that group for a
//! moment, which takes CAP_SETGID. Only this thread joins it, since other threads open resources at
//! the same time. The owner is lost.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Gid, getegid};
use rustix::thread::set_thread_res_gid;

/// What a socket file has, or had.
pub(super) struct Access {
    pub(super) mode: Permissions,
    owner: u32,
    group: u32,
}

impl Access {
    /// That of a file.
    pub(super) fn of(file: &Metadata) -> Self {
        Self { mode: file.permissions(), owner: file.uid(), group: file.gid() }
    }

    /// Makes something whose group is this one's, where that may be done.
    pub(super) fn in_group<T>(&self, make: impl FnOnce() -> T) -> T {
        let own = getegid();
        // Where it may not, the file has another group: see `lost`.
        let _ = self.become_group(Gid::from_raw(self.group));
        let made = make();
        // To its real or saved group a thread may always go back.
        let _ = self.become_group(own);
        made
    }

    /// What the file at a path does not have of it, to be told.
    pub(super) fn lost(&self, path: &Path) -> Option<String> {
        let now = Self::of(&fs::symlink_metadata(path).ok()?);
        ((self.owner, self.group) != (now.owner, now.group)).then(|| {
            format!(
                "; it now belongs to user {} and group {}, not to user {} and group {} as before: \
                 some users may be unable to connect; give it back with chown(1)",
                now.owner, now.group, self.owner, self.group
            )
        })
    }

    fn become_group(&self, group: Gid) -> io::Result<()> {
        Ok(set_thread_res_gid(None::<Gid>, group, None::<Gid>)?)
    }
}
