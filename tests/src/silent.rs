//! A file system whose server never answers: whoever opens a file there waits for as long as it is mounted.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{Directory, is_root, skip};

/// Unmounted when dropped; then whoever waits fails.
#[derive(Debug)]
pub struct SilentFiles {
    directory: Directory,
    /// The server's end, from which nobody reads.
    _server: OwnedFd,
}

impl SilentFiles {
    /// Mounts one. `None`, said aloud, where that cannot be.
    pub fn mount() -> Option<Self> {
        if !is_root() {
            skip("an open that does not end", "only root can mount a file system");
            return None;
        }
        let Ok(server) = open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) else {
            skip("an open that does not end", "there is no FUSE");
            return None;
        };
        let directory = Directory::new();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(error) = mount("silent", directory.path(), "fuse", flags, Some(&*options)) {
            skip("an open that does not end", &format!("mounting FUSE: {error}"));
            return None;
        }
        Some(Self { directory, _server: server })
    }

    /// The path of a file there.
    pub fn file(&self) -> PathBuf {
        self.directory.join("file")
    }
}

impl Drop for SilentFiles {
    fn drop(&mut self) {
        // The server's end is closed next: that fails every open.
        let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}
