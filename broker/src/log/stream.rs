//! Lines on standard error, without ever waiting for whoever reads it.
//!
//! A regular file is written at once. A pipe, a terminal or a socket is written when poll(2)
//! says that there is room; until then lines wait in a bounded queue, and those that find it
//! full are dropped and counted. The count is told in a line of its own as soon as there is
//! room again.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;
use rustix::fs::{FileType, fstat};
use rustix::io::write;

use crate::look::look;
use crate::sys::adopt::standard_error;

/// The longest line in bytes: what pipe(7) takes in one piece whenever it has room at all.
const MAX_LINE: usize = 4096;
/// How many lines may wait for a slow reader.
const MAX_WAITING: usize = 4096;

pub(super) struct Stream {
    descriptor: BorrowedFd<'static>,
    /// A regular file: a write ends by itself, whoever reads it.
    immediate: bool,
    waiting: VecDeque<String>,
    dropped: u64,
}

impl Stream {
    pub(super) fn standard_error() -> Self {
        let descriptor = standard_error();
        let immediate = fstat(descriptor)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Self { descriptor, immediate, waiting: VecDeque::new(), dropped: 0 }
    }

    /// Writes a line, now or when there is room; whether it was now.
    pub(super) fn write(&mut self, mut line: String) -> bool {
        shorten(&mut line);
        if !self.flush() && self.has_room() {
            self.put(&line);
            return true;
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(line);
        } else {
            self.dropped += 1;
        }
        false
    }

    /// Writes what waits, as far as there is room; whether something still waits.
    pub(super) fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() && self.has_room() {
            if let Some(line) = self.waiting.pop_front() {
                self.put(&line);
            }
        }
        if self.waiting.is_empty() && self.dropped > 0 && self.has_room() {
            let dropped = std::mem::take(&mut self.dropped);
            self.put(&format!("{dropped} log lines were dropped: nobody read standard error\n"));
        }
        !self.waiting.is_empty()
    }

    fn has_room(&self) -> bool {
        self.immediate || look(self.descriptor, PollFlags::OUT).is_ok_and(|found| !found.is_empty())
    }

    fn put(&self, line: &str) {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match write(self.descriptor, rest) {
                Ok(written) if written > 0 => rest = &rest[written..],
                Err(rustix::io::Errno::INTR) => {}
                // The log itself has failed: there is nobody left to tell.
                _ => return,
            }
        }
    }
}

fn shorten(line: &mut String) {
    if line.len() > MAX_LINE {
        let mut end = MAX_LINE - 4;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str("…\n");
    }
}
