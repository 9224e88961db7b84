//! Notices what happens in directories, by inotify(7): a file that appears, goes, or is written.
//!
//! Bounded: so many directories and no more. It costs one descriptor, and nothing while nothing happens.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::sys::watch::Watched;

/// How many directories one watch looks at.
pub(crate) const MAX_DIRECTORIES: usize = 32;

/// What is of interest: not that something is opened or read.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// The directories that are looked at.
pub(crate) struct PathWatch {
    inotify: Watched,
    /// How many have been added since the watch was made.
    directories: usize,
}

impl PathWatch {
    /// Looks at no directory yet.
    ///
    /// # Errors
    /// When the user has no inotify instance left, or no descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify: Watched::new(inotify)?, directories: 0 })
    }

    /// Looks at a directory too. One that is looked at already counts again.
    ///
    /// # Errors
    /// When it is no directory, or there are too many.
    pub(crate) fn add(&mut self, directory: &Path) -> io::Result<()> {
        if self.directories >= MAX_DIRECTORIES {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        inotify::add_watch(&self.inotify, directory, CHANGES)?;
        self.directories += 1;
        Ok(())
    }

    /// Waits until something happens; returns the names that it happened to. A name is empty where a directory itself
    /// is meant, or where more happened than the kernel has kept. Can be dropped and called again.
    ///
    /// # Errors
    /// When the event loop has ended.
    pub(crate) async fn names(&self) -> io::Result<Vec<OsString>> {
        self.inotify
            .read(|descriptor| {
                let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
                let mut reader = inotify::Reader::new(descriptor, &mut buffer);
                let mut names = Vec::new();
                loop {
                    match reader.next() {
                        Ok(event) => names.push(name_of(&event)),
                        Err(Errno::INTR) => continue,
                        Err(error) => return Err(error.into()),
                    }
                    // Another read could find nothing, and lose what is here.
                    if reader.is_buffer_empty() {
                        return Ok(names);
                    }
                }
            })
            .await
    }
}

fn name_of(event: &inotify::Event<'_>) -> OsString {
    let name = event.file_name().map(|name| name.to_bytes().to_vec());
    OsString::from_vec(name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_names_what_appears_is_written_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = PathWatch::new().unwrap();
        watch.add(directory.path()).unwrap();
        let path = directory.path().join("policy.toml");
        fs::write(&path, "x").unwrap();
        assert!(watch.names().await.unwrap().contains(&OsString::from("policy.toml")));
        fs::read(&path).unwrap();
        let nothing = tokio::time::timeout(Duration::from_millis(20), watch.names());
        assert!(nothing.await.is_err(), "reading is no change");
        fs::remove_file(&path).unwrap();
        assert_eq!(watch.names().await.unwrap(), ["policy.toml"]);
    }

    #[tokio::test]
    async fn it_looks_at_so_many_directories_and_at_directories_only() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = PathWatch::new().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(watch.add(&file).is_err());
        for _ in 0..MAX_DIRECTORIES {
            watch.add(directory.path()).unwrap();
        }
        assert!(watch.add(directory.path()).is_err());
    }
}
