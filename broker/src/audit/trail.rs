//! The audit file: append-only, one line a record, never a half one that is taken for a whole.
//!
//! A regular file, so that a write never waits for a reader. Supervisor and worker both append;
//! each line is one write(2) with O_APPEND, which the kernel does not mix with another's. If the
//! disk has no room for a line, or its writer is killed, a part of it may be left. So a writer that
//! does not know that the file ends with a whole line begins with a newline. If the file did, that
//! leaves an empty line, which means nothing. The supervisor can look how the file ends. The
//! worker's descriptor is for writing only. It knows nothing before its first line, after a
//! failure, or if another process has written since, which the file's size shows.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, Stat, fcntl_getfl, fstat};
use rustix::io::pread;

use super::line::line;
use crate::log::Record;

pub(super) struct Trail {
    file: OwnedFd,
    /// It can be looked at how the file ends.
    readable: bool,
    /// It had a name when it was opened: without one, what is written to it is lost.
    named: bool,
    /// Where the last line of this process ended, if it was whole.
    end: Option<u64>,
    /// The last record could not be written.
    failing: bool,
    /// Records that could not be written since the last one that could.
    lost: u64,
}

/// The result of appending.
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
        let named = fstat(&file).is_ok_and(|found| found.st_nlink > 0);
        Self { file, readable, named, end: None, failing: false, lost: 0 }
    }

    /// Goes on in another file. What the old one has lost is told when this one takes a record.
    pub(super) fn go_on_in(&mut self, file: OwnedFd) {
        *self = Self { lost: self.lost, ..Self::new(file) };
    }

    /// How many records could not be written, if the last one is among them.
    pub(super) fn failing(&self) -> Option<u64> {
        self.failing.then_some(self.lost)
    }

    /// Ends a partial line, of whichever writer. If that cannot be written, the next record does
    /// it.
    pub(super) fn repair(&mut self) {
        if self.readable && !self.ends_whole(self.size()) {
            // It was asked for by nobody, and so is missed by nobody.
            let _ = rustix::io::write(&self.file, b"\n");
        }
    }

    /// Returns how large the file is, where that can be known.
    fn size(&self) -> Option<u64> {
        fstat(&self.file).ok().and_then(|found| size_of_file(&found))
    }

    /// Whether it is known that a file of this size ends with a whole line.
    fn ends_whole(&self, size: Option<u64>) -> bool {
        match size {
            None => false,
            Some(0) => true,
            Some(size) if self.readable => {
                let mut last = [0];
                pread(&self.file, &mut last, size - 1) == Ok(1) && last == [b'\n']
            }
            size => size == self.end,
        }
    }

    /// Appends a record.
    pub(super) fn append(&mut self, record: &Record<'_>) -> Appended {
        match self.write(&line(record)) {
            Ok(()) => {
                self.failing = false;
                match std::mem::take(&mut self.lost) {
                    0 => Appended::Yes,
                    lost => Appended::Again { lost },
                }
            }
            Err(error) => {
                self.lost += 1;
                let first = !std::mem::replace(&mut self.failing, true);
                Appended::No { error: first.then_some(error) }
            }
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let found = fstat(&self.file).ok();
        if self.named && found.is_some_and(|found| found.st_nlink == 0) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file has been deleted"));
        }
        let size = found.as_ref().and_then(size_of_file);
        let whole = if self.ends_whole(size) { line.to_owned() } else { format!("\n{line}") };
        self.end = None;
        let written = loop {
            match rustix::io::write(&self.file, whole.as_bytes()) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result?,
            }
        };
        // A disk that fills takes the first part of a line.
        if written < whole.len() {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        // Too small, if another process has written in between: then it is not known how the file
        // ends.
        self.end = size.and_then(|size| size.checked_add(u64::try_from(written).ok()?));
        Ok(())
    }
}

fn size_of_file(found: &Stat) -> Option<u64> {
    u64::try_from(found.st_size).ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create, openat};

    use super::{Appended, Trail};
    use crate::log::sample;

    fn open(file: &OwnedFd, access: OFlags) -> OwnedFd {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        openat(CWD, path, access | OFlags::APPEND, Mode::empty()).unwrap()
    }

    fn append(trail: &mut Trail, times: usize) {
        (0..times).for_each(|_| assert!(matches!(trail.append(&sample(7)), Appended::Yes)));
    }

    /// For each line whether it is a record; none for an empty one.
    fn lines(file: &OwnedFd) -> Vec<Option<bool>> {
        let text = std::fs::read_to_string(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let is_record = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        text.lines().map(|line| (!line.is_empty()).then(|| is_record(line))).collect()
    }

    #[test]
    fn whoever_tears_a_line_it_takes_none_of_another_writer_with_it() {
        for access in [OFlags::WRONLY, OFlags::RDWR] {
            let file = memfd_create("trail", MemfdFlags::CLOEXEC).unwrap();
            let mut trail = Trail::new(open(&file, access));
            append(&mut trail, 2);
            let other = open(&file, OFlags::WRONLY);
            rustix::io::write(&other, b"{\"time\":").unwrap();
            append(&mut trail, 2);
            let (yes, no) = (Some(true), Some(false));
            assert_eq!(lines(&file), [yes, yes, no, yes, yes]);
        }
    }

    #[test]
    fn a_file_that_was_deleted_takes_no_record() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trail");
        let mut trail = Trail::new(std::fs::File::create(&path).unwrap().into());
        append(&mut trail, 1);
        std::fs::remove_file(&path).unwrap();
        let Appended::No { error: Some(error) } = trail.append(&sample(7)) else {
            panic!("it was taken");
        };
        assert_eq!(error.to_string(), "the file has been deleted");
        trail.go_on_in(std::fs::File::create(&path).unwrap().into());
        assert!(matches!(trail.append(&sample(7)), Appended::Again { lost: 1 }));
    }

    #[test]
    fn who_cannot_look_begins_with_a_newline_behind_what_others_wrote_and_not_behind_its_own() {
        let file = memfd_create("trail", MemfdFlags::CLOEXEC).unwrap();
        let mut looks = Trail::new(open(&file, OFlags::RDWR));
        append(&mut looks, 1);
        let mut blind = Trail::new(open(&file, OFlags::WRONLY));
        append(&mut blind, 2);
        append(&mut looks, 2);
        append(&mut blind, 1);
        let yes = Some(true);
        assert_eq!(lines(&file), [yes, None, yes, yes, yes, yes, None, yes]);
    }
}
