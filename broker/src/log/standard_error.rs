//! Standard error, to be written to without waiting.
//!
//! O_NONBLOCK belongs to the open file description, which others share: a shell, a service manager,
//! the next program in line. So the broker opens a pipe or a terminal again, and sets the flag on
//! its own description. The worker may not open what belongs to another user: it inherits the
//! description that the supervisor opened.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, write};
use rustix::net::{SendFlags, send};
use rustix::termios::isatty;

use crate::look::look;
use crate::sys::adopt::standard_error;

/// Standard error, as it can be written to.
pub(crate) enum StandardError {
    /// A regular file: a write ends by itself, however slow its readers are.
    File(BorrowedFd<'static>),
    /// A socket, which is told with each write not to wait.
    Socket(BorrowedFd<'static>),
    /// A pipe or a terminal, opened again.
    Own(OwnedFd),
    /// Anything else, and a pipe or terminal that cannot be opened again: before each write,
    /// poll(2) says whether there is room. In the worker such a write does not block, since the
    /// supervisor opened the file. Elsewhere it may wait, if another process writes in between.
    Shared(BorrowedFd<'static>),
}

impl StandardError {
    /// Finds out what standard error is. Root needs its capabilities for that: the pipe or
    /// terminal may belong to another user.
    pub(crate) fn open() -> Self {
        Self::over(standard_error())
    }

    pub(super) fn over(descriptor: BorrowedFd<'static>) -> Self {
        let kind = fstat(descriptor).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::RegularFile) => Self::File(descriptor),
            Ok(FileType::Socket) => Self::Socket(descriptor),
            Ok(FileType::Fifo) => Self::anew(descriptor),
            Ok(FileType::CharacterDevice) if isatty(descriptor) => Self::anew(descriptor),
            _ => Self::Shared(descriptor),
        }
    }

    fn anew(descriptor: BorrowedFd<'static>) -> Self {
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        open(path, flags, Mode::empty()).map_or(Self::Shared(descriptor), Self::Own)
    }

    /// The same, to be the standard error of the worker; `None` where it inherits the supervisor's.
    pub(crate) fn for_worker(&self) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::Own(own) => own.try_clone().map(Some),
            Self::File(_) | Self::Socket(_) | Self::Shared(_) => Ok(None),
        }
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// As write(2); AGAIN when there is no room.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::File(file) => write(file, bytes),
            Self::Socket(socket) => send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Self::Own(own) => write(own, bytes),
            Self::Shared(shared) if has_room(shared.as_fd()) => write(shared, bytes),
            Self::Shared(_) => Err(Errno::AGAIN),
        }
    }
}

fn has_room(descriptor: BorrowedFd<'_>) -> bool {
    look(descriptor, PollFlags::OUT).is_ok_and(|found| !found.is_empty())
}
