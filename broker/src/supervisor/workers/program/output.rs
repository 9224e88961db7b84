//! What a program writes: the first bytes are kept, and all others are read and dropped, so that it does not wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, ioctl_fionbio, read};

/// How much is read at once.
const AT_ONCE: usize = 16 * 1024;

/// The reading end of a pipe, and what was read of it.
pub(super) struct Output {
    pipe: OwnedFd,
    kept: Vec<u8>,
    most: usize,
    /// It has written more than is kept.
    is_cut: bool,
    /// Nothing more comes.
    has_ended: bool,
}

impl Output {
    /// A pipe of which so many bytes are kept, and its writing end.
    ///
    /// # Errors
    /// As pipe(2).
    pub(super) fn new(most: usize) -> io::Result<(Self, OwnedFd)> {
        let (pipe, writes) = io::pipe()?;
        ioctl_fionbio(&pipe, true)?;
        let (pipe, kept) = (pipe.into(), Vec::new());
        Ok((Self { pipe, kept, most, is_cut: false, has_ended: false }, writes.into()))
    }

    /// Returns what to wait for, unless nothing more comes.
    pub(super) fn waits(&self) -> Option<BorrowedFd<'_>> {
        (!self.has_ended).then(|| self.pipe.as_fd())
    }

    /// Reads once. Returns whether there may be more.
    pub(super) fn take_in(&mut self) -> bool {
        let mut bytes = [0; AT_ONCE];
        match read(&self.pipe, &mut bytes[..]) {
            Ok(length @ 1..) => {
                let room = self.most - self.kept.len();
                self.is_cut |= length > room;
                self.kept.extend_from_slice(bytes.get(..length.min(room)).unwrap_or_default());
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            // An error is the end, too.
            Ok(_) | Err(_) => {
                self.has_ended = true;
                false
            }
        }
    }

    /// Returns what was kept, or `None` if there was more.
    pub(super) fn whole(self) -> Option<Vec<u8>> {
        (!self.is_cut).then_some(self.kept)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the first line of it, without its end.
    pub(super) fn first_line(&self) -> &[u8] {
        let line = self.kept.split(|byte| *byte == b'\n').next().unwrap_or_default();
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::write;

    use super::*;

    /// What is kept of these bytes, four of them at most.
    fn kept(bytes: &[u8]) -> Output {
        let (mut output, writes) = Output::new(4).unwrap();
        write(&writes, bytes).unwrap();
        assert!(output.take_in() && !output.take_in() && output.waits().is_some());
        drop(writes);
        assert!(!output.take_in() && output.waits().is_none());
        output
    }

    #[test]
    fn the_first_bytes_are_kept_and_others_are_noticed() {
        assert_eq!(kept(b"four").whole(), Some(b"four".to_vec()));
        let cut = kept(b"fives");
        assert!(cut.is_cut());
        assert_eq!(cut.first_line(), b"five");
        assert_eq!(cut.whole(), None);
    }

    #[test]
    fn of_several_lines_the_first_is_told() {
        assert_eq!(kept(b"a\r\nb").first_line(), b"a");
        assert_eq!(kept(b"\nb").first_line(), b"");
    }
}
