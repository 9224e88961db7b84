//! The file of `--audit-file`: opened by the supervisor, which may, and appended to by both.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

/// Where the audit file is.
pub(crate) struct AuditFile {
    path: PathBuf,
    file: OwnedFd,
}

impl AuditFile {
    /// Opens the file, or makes it, for root alone.
    ///
    /// # Errors
    /// When it cannot be opened for appending, or is no regular file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)? })
    }

    /// Opens the file again, since it may have been moved away. Returns whether it is another file
    /// now.
    ///
    /// # Errors
    /// As [`AuditFile::open`]; then the old one goes on.
    pub(crate) fn reopen(&mut self) -> io::Result<bool> {
        let file = open(&self.path)?;
        let (before, now) = (fstat(&self.file)?, fstat(&file)?);
        let another = (before.st_dev, before.st_ino) != (now.st_dev, now.st_ino);
        if another {
            self.file = file;
        }
        Ok(another)
    }

    /// Whether the file has no name any more, so that what is written to it is lost.
    pub(crate) fn is_deleted(&self) -> bool {
        fstat(&self.file).is_ok_and(|found| found.st_nlink == 0)
    }

    /// A descriptor of it for this process, which may also read how it ends.
    ///
    /// # Errors
    /// When none is left.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.file.try_clone()
    }

    /// A descriptor of it for a worker, which may append and no more.
    ///
    /// # Errors
    /// When none is left, or there is no /proc.
    pub(crate) fn for_appending(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        Ok(openat(CWD, path, flags, Mode::empty())?)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    // Neither through a symlink that somebody put there, nor waiting for a FIFO's other end.
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}
