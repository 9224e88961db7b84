//! The way to a socket: every directory and link that the kernel passes.
//!
//! It opens one component after the other and never lets the kernel follow a link: a link can lead through directories
//! that neither path names.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat};
use rustix::io::Errno;

use super::acl::Writers;

/// Links followed before the walk stops; the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
const STICKY: u32 = 0o1000;
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const ENTRY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is passed on the way.
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    /// Who may exchange what the way goes on to, beside the owner. A link has nothing to exchange.
    pub(super) writers: Option<Writers>,
}

/// The places, and what is at the end if something is.
#[derive(Default)]
pub(super) struct Way {
    pub(super) places: Vec<Place>,
    pub(super) socket: Option<(OwnedFd, Stat)>,
}

/// Walks to what is at this absolute path.
///
/// # Errors
/// Where it cannot go on, and why.
pub(super) fn way(path: &Path) -> Result<Way, (PathBuf, Errno)> {
    let mut walk = match open("/", DIRECTORY, Mode::empty()) {
        Ok(directory) => Walk::begin(directory, path),
        Err(errno) => return Err((PathBuf::from("/"), errno)),
    };
    while let Some(name) = walk.ahead.pop_front() {
        let went = walk.step(&name);
        if !went.map_err(|errno| (walk.path.join(&name), errno))? {
            break;
        }
    }
    Ok(walk.way)
}

struct Walk {
    directory: OwnedFd,
    /// Its path without links.
    path: PathBuf,
    ahead: VecDeque<OsString>,
    links: usize,
    way: Way,
}

impl Walk {
    fn begin(directory: OwnedFd, path: &Path) -> Self {
        let (ahead, way) = (names(path).collect(), Way::default());
        Self { directory, path: PathBuf::from("/"), ahead, links: 0, way }
    }

    /// Goes on by one component. Returns whether there can be another.
    fn step(&mut self, name: &OsStr) -> Result<bool, Errno> {
        if name == ".." {
            self.pass(false)?;
            self.path.pop();
            self.directory = openat(&self.directory, "..", DIRECTORY, Mode::empty())?;
            return Ok(true);
        }
        let entry = match openat(&self.directory, name, ENTRY, Mode::empty()) {
            Ok(entry) => entry,
            Err(Errno::NOENT) => return self.pass(false).map(|()| false),
            Err(errno) => return Err(errno),
        };
        let stat = fstat(&entry)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        // A server that is restarted makes its socket again, so the sticky bit does not keep it.
        self.pass(matches!(kind, FileType::Directory | FileType::Symlink))?;
        match kind {
            FileType::Directory => {
                self.path.push(name);
                self.directory = entry;
                Ok(true)
            }
            FileType::Symlink => self.follow(&entry, stat, name).map(|()| true),
            _ if self.ahead.is_empty() => {
                self.way.socket = Some((entry, stat));
                Ok(false)
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Takes down the directory that the walk has come to. The sticky bit keeps what `can_be_kept`: that is judged by its
    /// own owner.
    fn pass(&mut self, can_be_kept: bool) -> Result<(), Errno> {
        let stat = fstat(&self.directory)?;
        let is_kept = can_be_kept && stat.st_mode & STICKY != 0;
        let writers = match is_kept {
            true => None,
            false => Some(Writers::of(self.directory.as_fd(), &stat)?),
        };
        self.way.places.push(Place { path: self.path.clone(), stat, writers });
        Ok(())
    }

    fn follow(&mut self, link: &OwnedFd, stat: Stat, name: &OsStr) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        self.way.places.push(Place { path: self.path.join(name), stat, writers: None });
        let target = readlinkat(link, "", Vec::new())?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            self.path = PathBuf::from("/");
            self.directory = open("/", DIRECTORY, Mode::empty())?;
        }
        names(&target).rev().for_each(|name| self.ahead.push_front(name));
        Ok(())
    }
}

/// The components of a path. The root is where a walk begins.
fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}
