//! A disk that can be filled.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::{Directory, is_root, skip};

/// A small file system of its own, until it is dropped.
#[derive(Debug)]
pub struct SmallDisk(Directory);

impl SmallDisk {
    /// Mounts one for the test `what`. Only root can.
    pub fn mount(what: &str) -> Option<Self> {
        if !is_root() {
            skip(what, "only root can mount a file system");
            return None;
        }
        let directory = Directory::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs"]).arg(directory.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(directory)),
            refused => {
                skip(what, &format!("a file system cannot be mounted: {refused:?}"));
                None
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Refuses all changes from now on.
    pub fn make_read_only(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,ro"]).arg(self.0.path());
        assert!(mount.status().unwrap().success(), "it stays writable");
    }

    /// Leaves no room but in the page that a file ends in.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        while filler.write_all(&[b'.'; 4096]).is_ok() {}
    }

    /// Has room again.
    pub fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "it stays mounted");
    }
}
