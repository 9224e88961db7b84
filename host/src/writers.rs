//! Who could have written a file: walks to it and judges every directory and link on the way.
//!
//! The walk opens one component after the other, relative to the descriptor of the directory before, and never lets the
//! kernel follow a link. So what was judged cannot be exchanged before it is used.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use fdbroker_policy::{Finding, Uid};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, open as open_path, openat, readlinkat};
use rustix::io::Errno;

use crate::error::{PolicyFileError, refused, shown, unreadable};

/// What a report calls a link.
const LINK: &str = "symbolic link";

/// Links followed before the walk gives up; the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A file that was reached, and what is wrong with who could have written it.
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) findings: Vec<Finding>,
}

/// The names in a directory, and what is wrong with who could have put them there.
pub(crate) struct Listed {
    pub(crate) names: Vec<OsString>,
    pub(crate) findings: Vec<Finding>,
}

/// Opens a regular file for reading and judges the way to it.
///
/// # Errors
/// Not found, unreadable or no regular file. An untrusted writer is no error here, but a finding.
pub(crate) fn open(path: &Path, trusted: &[Uid]) -> Result<Found, PolicyFileError> {
    let absolute = std::path::absolute(path).map_err(|source| unreadable(path, source))?;
    let mut walk = Walk::begin(&absolute, trusted)?;
    loop {
        if let Some(file) = walk.step()? {
            return Ok(Found { file, findings: walk.findings });
        }
    }
}

/// Lists the names in a directory and judges the way to it. `None` if there is none.
///
/// # Errors
/// Unreadable or no directory.
pub(crate) fn list(path: &Path, trusted: &[Uid]) -> Result<Option<Listed>, PolicyFileError> {
    let absolute = std::path::absolute(path).map_err(|source| unreadable(path, source))?;
    let mut walk = Walk::begin(&absolute, trusted)?;
    while !walk.ahead.is_empty() {
        match walk.step() {
            Ok(None) => {}
            Ok(Some(_)) => return Err(unreadable(path, Errno::NOTDIR)),
            Err(PolicyFileError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let names = walk.names().map_err(|errno| unreadable(path, errno))?;
    Ok(Some(Listed { names, findings: walk.findings }))
}

/// Where the walk has come to.
struct Walk<'a> {
    asked: &'a Path,
    trusted: &'a [Uid],
    /// The directory so far, and its path without links.
    directory: OwnedFd,
    path: PathBuf,
    /// What is still to walk.
    ahead: VecDeque<Step>,
    links: usize,
    findings: Vec<Finding>,
}

/// One component of a path.
struct Step {
    name: OsString,
    /// Whether it comes from a link, not from the path that was asked for.
    from_link: bool,
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const ENTRY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl<'a> Walk<'a> {
    fn begin(asked: &'a Path, trusted: &'a [Uid]) -> Result<Self, PolicyFileError> {
        let root = Path::new("/");
        let directory =
            open_path(root, DIRECTORY, Mode::empty()).map_err(|errno| unreadable(root, errno))?;
        let ahead = steps(asked, false).collect();
        let mut walk = Self {
            asked,
            trusted,
            directory,
            path: root.to_owned(),
            ahead,
            links: 0,
            findings: Vec::new(),
        };
        walk.judge_directory()?;
        Ok(walk)
    }

    /// Goes on by one component. Returns the file once it is reached.
    fn step(&mut self) -> Result<Option<File>, PolicyFileError> {
        let Some(step) = self.ahead.pop_front() else {
            return Err(self.no_regular_file());
        };
        if step.name == ".." {
            self.path.pop();
            return self.enter(&step).map(|()| None);
        }
        let path = self.path.join(&step.name);
        let entry = openat(&self.directory, &step.name, ENTRY, Mode::empty())
            .map_err(|errno| self.missing_or_unreadable(&step, &path, errno))?;
        let stat = fstat(&entry).map_err(|errno| unreadable(&path, errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => self.follow(&entry, &stat, &path).map(|()| None),
            FileType::Directory => {
                self.path = path;
                self.directory = entry;
                self.judge_directory().map(|()| None)
            }
            kind => self.read_last(&step, kind, path).map(Some),
        }
    }

    /// The names in the directory that the walk has come to, but for `.` and `..`.
    fn names(&self) -> Result<Vec<OsString>, Errno> {
        let mut names = Vec::new();
        let readable = openat(&self.directory, ".", LISTED, Mode::empty())?;
        for entry in Dir::new(readable)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn enter(&mut self, step: &Step) -> Result<(), PolicyFileError> {
        self.directory = openat(&self.directory, &step.name, DIRECTORY, Mode::empty())
            .map_err(|errno| unreadable(&self.path, errno))?;
        self.judge_directory()
    }

    /// Puts what a link says in front of what is still to walk.
    fn follow(&mut self, link: &OwnedFd, stat: &Stat, path: &Path) -> Result<(), PolicyFileError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(unreadable(path, Errno::LOOP));
        }
        self.judge_owner(stat, path, LINK);
        let target = readlinkat(link, "", Vec::new()).map_err(|errno| unreadable(path, errno))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            self.path = PathBuf::from("/");
            self.directory = open_path("/", DIRECTORY, Mode::empty())
                .map_err(|errno| unreadable(path, errno))?;
        }
        for step in steps(&target, true).rev() {
            self.ahead.push_front(step);
        }
        Ok(())
    }

    /// Opens what is no directory and no link. It must be the end of the path.
    fn read_last(
        &mut self,
        step: &Step,
        kind: FileType,
        path: PathBuf,
    ) -> Result<File, PolicyFileError> {
        if !self.ahead.is_empty() {
            return Err(unreadable(&path, Errno::NOTDIR));
        }
        self.path = path;
        // Not even opened: opening a device can set things off.
        if kind != FileType::RegularFile {
            return Err(self.no_regular_file());
        }
        let file = openat(&self.directory, &step.name, READ, Mode::empty())
            .map_err(|errno| unreadable(&self.path, errno))?;
        self.judge_file(&file)?;
        Ok(file.into())
    }

    /// Judges the opened file, which need not be the one that was looked at before.
    fn judge_file(&mut self, file: &OwnedFd) -> Result<(), PolicyFileError> {
        let stat = fstat(file).map_err(|errno| unreadable(&self.path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.no_regular_file());
        }
        let path = self.path.clone();
        self.judge_owner(&stat, &path, "file");
        self.judge_mode(&stat, &path, "file");
        Ok(())
    }

    fn no_regular_file(&mut self) -> PolicyFileError {
        let wrong = Finding::about_file(
            shown(&self.path),
            "this is not a regular file",
            "name the policy file itself",
        );
        refused(std::mem::take(&mut self.findings), wrong)
    }

    fn missing_or_unreadable(&self, step: &Step, path: &Path, errno: Errno) -> PolicyFileError {
        // Where a link leads nowhere, somebody meant there to be a policy.
        if errno == Errno::NOENT && !step.from_link {
            return PolicyFileError::NotFound(self.asked.to_owned());
        }
        unreadable(path, errno)
    }

    fn judge_directory(&mut self) -> Result<(), PolicyFileError> {
        let stat = fstat(&self.directory).map_err(|errno| unreadable(&self.path, errno))?;
        let path = self.path.clone();
        self.judge_owner(&stat, &path, "directory");
        // In a sticky directory others can add entries, but not exchange those of somebody else. The owner of
        // the entry that the walk goes on to is checked in any case.
        if !Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX) {
            self.judge_mode(&stat, &path, "directory");
        }
        Ok(())
    }

    fn judge_owner(&mut self, stat: &Stat, path: &Path, noun: &str) {
        if !self.trusted.contains(&Uid(stat.st_uid)) {
            let message =
                format!("this {noun} belongs to user {}, who could change the policy", stat.st_uid);
            let command = if noun == LINK { "chown -h root" } else { "chown root" };
            self.find(path, &message, &format!("{command} {}", quoted(path)));
        }
    }

    fn judge_mode(&mut self, stat: &Stat, path: &Path, noun: &str) {
        let mode = Mode::from_raw_mode(stat.st_mode);
        let (group, others) = (mode.contains(Mode::WGRP), mode.contains(Mode::WOTH));
        let (who, change) = match (group, others) {
            (true, true) => ("its group and everybody else", "go-w"),
            (true, false) => ("its group", "g-w"),
            (false, true) => ("everybody", "o-w"),
            (false, false) => return,
        };
        let message = format!(
            "this {noun} is writable by {who} (mode {:04o}, group {})",
            mode.as_raw_mode(),
            stat.st_gid
        );
        self.find(path, &message, &format!("chmod {change} {}", quoted(path)));
    }

    /// Takes down a finding, once: a link can lead through the same directory again.
    fn find(&mut self, path: &Path, message: &str, remedy: &str) {
        let finding = Finding::about_file(shown(path), message, remedy);
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// The components of a path as steps. The root is where a walk begins, so it is no step.
fn steps(path: &Path, from_link: bool) -> impl DoubleEndedIterator<Item = Step> {
    path.components().filter_map(move |component| match component {
        Component::Normal(name) => Some(Step { name: name.to_owned(), from_link }),
        Component::ParentDir => Some(Step { name: OsString::from(".."), from_link }),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// The path as a shell would take it.
fn quoted(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@".contains(byte);
    if path.as_os_str().as_bytes().iter().all(plain) {
        return shown(path);
    }
    format!("'{}'", shown(path).replace('\'', "'\\''"))
}
