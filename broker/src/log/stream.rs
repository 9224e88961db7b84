//! Lines on standard error, without ever waiting for the reader.
//!
//! A regular file is written at once. Of a pipe, a terminal or a socket only as much is written as
//! there is room for; the rest waits in a bounded queue, and lines that find it full are dropped
//! and counted. The count is told in a line of its own as soon as there is room again.

use std::collections::VecDeque;

use super::record::{Entry, Level};
use super::standard_error::StandardError;

/// The longest line in bytes: what pipe(7) takes in one piece whenever it has room at all.
const MAX_LINE: usize = 4096;
/// How many lines may wait for a slow reader.
const MAX_WAITING: usize = 4096;

pub(super) struct Stream {
    target: StandardError,
    /// The form of a line.
    form: fn(&Entry<'_>) -> String,
    waiting: VecDeque<String>,
    /// How many bytes of the first waiting line have been written.
    written: usize,
    dropped: u64,
}

impl Stream {
    pub(super) fn new(target: StandardError, form: fn(&Entry<'_>) -> String) -> Self {
        Self { target, form, waiting: VecDeque::new(), written: 0, dropped: 0 }
    }

    pub(super) fn target(&self) -> &StandardError {
        &self.target
    }

    /// Writes an entry as a line, now or when there is room; whether it was now.
    pub(super) fn write(&mut self, entry: &Entry<'_>) -> bool {
        let mut line = (self.form)(entry);
        shorten(&mut line);
        if self.waiting.len() >= MAX_WAITING && self.flush() && self.waiting.len() >= MAX_WAITING {
            self.dropped += 1;
            return false;
        }
        self.waiting.push_back(line);
        !self.flush()
    }

    /// Writes what waits, as far as there is room; whether something still waits.
    pub(super) fn flush(&mut self) -> bool {
        loop {
            let Some(line) = self.waiting.front() else {
                if self.dropped == 0 {
                    return false;
                }
                let notice = missing(std::mem::take(&mut self.dropped));
                self.waiting.push_back((self.form)(&Entry::event(Level::Warning, &notice)));
                continue;
            };
            let rest = line.as_bytes().get(self.written..).unwrap_or_default();
            match self.target.write(rest) {
                Ok(more) if more > 0 && more < rest.len() => self.written += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return true,
                // All of it; or the log itself has failed, and there is nobody left to tell.
                _ => {
                    self.waiting.pop_front();
                    self.written = 0;
                }
            }
        }
    }
}

fn missing(lines: u64) -> String {
    format!("log lines dropped: {lines}; nobody read standard error")
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    use super::*;

    /// A pipe's end to read from, which does not block, and its end to write to, which does.
    fn pipe() -> (std::fs::File, &'static OwnedFd) {
        let (reader, writer) = std::io::pipe().unwrap();
        fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        (OwnedFd::from(reader).into(), for_ever(writer.into()))
    }

    /// Standard error is open for as long as the process lives, and so is what stands for it.
    fn for_ever(descriptor: OwnedFd) -> &'static OwnedFd {
        Box::leak(Box::new(descriptor))
    }

    /// Leaves no room in what `descriptor` writes to, and the descriptor as it was.
    fn fill(descriptor: &OwnedFd) {
        let before = fcntl_getfl(descriptor).unwrap();
        fcntl_setfl(descriptor, before | OFlags::NONBLOCK).unwrap();
        for size in [4096, 1] {
            while rustix::io::write(descriptor, &vec![b'.'; size]).is_ok() {}
        }
        fcntl_setfl(descriptor, before).unwrap();
    }

    /// Nothing but what it says.
    fn plain(entry: &Entry<'_>) -> String {
        format!("{}\n", entry.message)
    }

    fn line(message: &str) -> Entry<'_> {
        Entry::event(Level::Info, message)
    }

    fn over(descriptor: &'static OwnedFd) -> StandardError {
        StandardError::over(descriptor.as_fd())
    }

    fn read_all(mut from: impl Read) -> String {
        let mut text = Vec::new();
        // It ends with WouldBlock, since the other end is still open.
        from.read_to_end(&mut text).unwrap_err();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_pipe_that_another_writer_has_filled_makes_no_write_wait_and_loses_no_line() {
        let (reader, writer) = pipe();
        let mut stream = Stream::new(over(writer), plain);
        assert!(stream.write(&line("first")));
        fill(writer);
        for number in 0..3 {
            assert!(!stream.write(&line(&format!("line {number}"))));
        }
        let text = read_all(&reader);
        assert!(text.starts_with("first\n.") && text.ends_with('.'));
        assert!(!stream.flush());
        assert_eq!(read_all(&reader), "line 0\nline 1\nline 2\n");
    }

    #[test]
    fn what_others_have_open_keeps_blocking() {
        let (_reader, writer) = pipe();
        let mut stream = Stream::new(over(writer), plain);
        assert!(stream.write(&line("x")));
        assert!(!fcntl_getfl(writer).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn of_a_line_that_went_in_part_the_rest_goes_first() {
        let (reader, writer) = UnixStream::pair().unwrap();
        reader.set_nonblocking(true).unwrap();
        let writer = for_ever(writer.into());
        let mut stream = Stream::new(over(writer), plain);
        // Longer than any buffer: put there as it is, since a line is written whole or not at all.
        let long = format!("{}\n", "long ".repeat(1 << 20));
        stream.waiting.push_back(long.clone());
        assert!(!stream.write(&line("next")));
        assert!(stream.written > 0);
        let mut text = String::new();
        while stream.flush() {
            text.push_str(&read_all(&reader));
        }
        text.push_str(&read_all(&reader));
        assert_eq!(text.len(), long.len() + 5);
        assert!(text.starts_with(&long) && text.ends_with("next\n"));
    }

    #[test]
    fn lines_beyond_what_may_wait_are_dropped_and_their_number_is_told() {
        let (reader, writer) = pipe();
        let mut stream = Stream::new(over(writer), plain);
        fill(writer);
        for _ in 0..MAX_WAITING + 7 {
            assert!(!stream.write(&line("x")));
        }
        read_all(&reader);
        assert!(!stream.flush());
        let text = read_all(&reader);
        assert_eq!(text.lines().filter(|line| *line == "x").count(), MAX_WAITING);
        assert!(text.ends_with(&(missing(7) + "\n")), "{text:?}");
    }

    #[test]
    fn a_log_that_fails_stops_nothing() {
        let (reader, writer) = pipe();
        let mut stream = Stream::new(over(writer), plain);
        drop(reader);
        assert!(stream.write(&line("x")));
    }
}
