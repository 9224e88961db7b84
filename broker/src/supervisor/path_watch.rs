//! Notices what happens in directories, by inotify(7): a file that appears, goes, or is written.
//!
//! Bounded: so many directories and no more. It costs one descriptor, and nothing while nothing happens.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::time::{Instant, sleep_until};

use crate::sys::watch::Watched;

/// How many directories one watch looks at.
pub(crate) const MAX_DIRECTORIES: usize = 32;

/// That a name is there which was not. In /dev, much is written that is no news.
const APPEARANCE: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// That a file is another one now: not that it is opened or read.
const CHANGE: WatchFlags = APPEARANCE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB);

/// What is of interest in the directories.
#[derive(Clone, Copy)]
pub(crate) enum Interest {
    /// That something is there which was not.
    Appearance,
    /// That as well, and that a file is written, gets other rights, or goes.
    Change,
}

/// Of many things that happen together, and one after the other, some are told.
pub(crate) struct Pace {
    settled: Duration,
    apart: Duration,
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Pace {
    /// Tells of something `settled` later, and `apart` after the last time.
    pub(crate) fn new(settled: Duration, apart: Duration) -> Self {
        Self { settled, apart, due: None, last: None }
    }

    /// Something has happened.
    pub(crate) fn note(&mut self) {
        let soon = Instant::now() + self.settled;
        let due = self.last.map_or(soon, |last| soon.max(last + self.apart));
        self.due.get_or_insert(due);
    }

    /// Waits until it is to be told. Can be dropped and called again.
    pub(crate) async fn is_due(&mut self) {
        let Some(due) = self.due else { return pending().await };
        sleep_until(due).await;
        self.due = None;
        self.last = Some(Instant::now());
    }
}

/// The directories that are looked at.
pub(crate) struct PathWatch {
    inotify: Watched,
    interest: Interest,
    /// By the numbers that the kernel has for them.
    directories: BTreeSet<i32>,
}

impl PathWatch {
    /// Looks at no directory yet.
    ///
    /// # Errors
    /// When the user has no inotify instance left, or no descriptor.
    pub(crate) fn new(interest: Interest) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify: Watched::new(inotify)?, interest, directories: BTreeSet::new() })
    }

    /// Looks at a directory too. One that is looked at already does not count again.
    ///
    /// # Errors
    /// When it is no directory, or there are too many.
    pub(crate) fn add(&mut self, directory: &Path) -> io::Result<()> {
        let flags = match self.interest {
            Interest::Appearance => APPEARANCE,
            Interest::Change => CHANGE,
        };
        let number = inotify::add_watch(&self.inotify, directory, flags)?;
        if self.directories.contains(&number) {
            return Ok(());
        }
        if self.directories.len() >= MAX_DIRECTORIES {
            inotify::remove_watch(&self.inotify, number)?;
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.directories.insert(number);
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

/// Whether it fails since inotify instances, watches, or what they take are used up: it can succeed later.
pub(crate) fn is_used_up(error: &io::Error) -> bool {
    let used_up = [Errno::MFILE, Errno::NFILE, Errno::NOSPC, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|error| used_up.contains(&error))
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
        let mut watch = PathWatch::new(Interest::Change).unwrap();
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
        let mut watch = PathWatch::new(Interest::Change).unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(watch.add(&file).is_err());
        for number in 0..=MAX_DIRECTORIES {
            let below = directory.path().join(number.to_string());
            fs::create_dir(&below).unwrap();
            let added = watch.add(&below);
            assert_eq!(added.is_ok(), number < MAX_DIRECTORIES, "{number}");
        }
        watch.add(&directory.path().join("0")).unwrap();
    }
}
