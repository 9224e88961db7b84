//! The audit file: append-only, one line a record, never a half one that is taken for a whole.
//!
//! A regular file, so that a write never waits for a reader. Supervisor and worker both append;
//! each line is one write(2) with O_APPEND, which the kernel does not mix with another's. Of a line
//! for which the disk has no room a part may be left: the next one begins a new line. The worker
//! knows of its own; the supervisor can look, and mends the file before a worker is given it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, fcntl_getfl, fstat};
use rustix::io::pread;

use super::line::line;
use crate::log::Record;

pub(super) struct Trail {
    file: OwnedFd,
    /// It can be looked at how the file ends.
    readable: bool,
    /// The last write left a part of its line.
    torn: bool,
    /// Records that could not be written since the last one that could.
    lost: u64,
}

/// What came of appending.
#[derive(Debug)]
pub(super) enum Appended {
    Yes,
    /// After some that could not be.
    Again {
        lost: u64,
    },
    /// The error, when it is the first one in a row.
    No {
        error: Option<io::Error>,
    },
}

impl Trail {
    pub(super) fn new(file: OwnedFd) -> Self {
        let readable = fcntl_getfl(&file).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
        Self { file, readable, torn: false, lost: 0 }
    }

    /// Ends what is left of a line, whoever wrote it; if that cannot be written, the next record
    /// does it.
    pub(super) fn mend(&mut self) {
        if self.ends_torn() && rustix::io::write(&self.file, b"\n") == Ok(1) {
            self.torn = false;
        }
    }

    fn ends_torn(&self) -> bool {
        if !self.readable {
            return self.torn;
        }
        let mut last = [b'\n'];
        let end = fstat(&self.file).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
        let looked = end == 0 || pread(&self.file, &mut last, end - 1).is_ok();
        last != [b'\n'] || (!looked && self.torn)
    }

    /// Appends a record.
    pub(super) fn append(&mut self, record: &Record<'_>) -> Appended {
        match self.write(&line(record)) {
            Ok(()) => match std::mem::take(&mut self.lost) {
                0 => Appended::Yes,
                lost => Appended::Again { lost },
            },
            Err(error) => {
                self.lost += 1;
                Appended::No { error: (self.lost == 1).then_some(error) }
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let whole = if self.ends_torn() { format!("\n{line}") } else { line.to_owned() };
        let written = loop {
            match rustix::io::write(&self.file, whole.as_bytes()) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result?,
            }
        };
        // A disk that fills takes the first part of a line.
        if written == whole.len() {
            self.torn = false;
            return Ok(());
        }
        self.torn |= written > 0;
        Err(rustix::io::Errno::NOSPC.into())
    }
}
