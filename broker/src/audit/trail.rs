//! The audit file: append-only, one line a record, never a half one that is taken for a whole.
//!
//! A regular file, so that a write never waits for a reader. Supervisor and worker both append;
//! each line is one write(2) with O_APPEND, which the kernel does not mix with another's.

use std::io;
use std::os::fd::OwnedFd;

use super::line::line;
use crate::log::Record;

pub(super) struct Trail {
    file: OwnedFd,
    /// The last write left a part of its line: the next one begins a new line.
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
        Self { file, torn: false, lost: 0 }
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
        let whole = if self.torn { format!("\n{line}") } else { line.to_owned() };
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
