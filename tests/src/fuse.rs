//! A file system of FUSE, for tests that serve it themselves or never answer.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{Directory, is_root, skip};

/// One that is mounted; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Fuse {
    directory: Directory,
    /// The server's end. Once it is closed everywhere, every request that waits for an answer
    /// fails.
    pub(crate) server: Arc<File>,
}

impl Fuse {
    /// Mounts one. `None`, said aloud, where that cannot be: then `what` is skipped.
    pub(crate) fn mount(what: &str) -> Option<Self> {
        if !is_root() {
            skip(what, "only root can mount a file system");
            return None;
        }
        let Ok(server) = File::options().read(true).write(true).open("/dev/fuse") else {
            skip(what, "there is no FUSE");
            return None;
        };
        let directory = Directory::new();
        let options =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", server.as_raw_fd());
        let options = CString::new(options).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(error) = mount("test", directory.path(), "fuse", flags, Some(&*options)) {
            skip(what, &format!("mounting FUSE: {error}"));
            return None;
        }
        Some(Self { directory, server: Arc::new(server) })
    }

    /// The path of a file there.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("file")
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}
