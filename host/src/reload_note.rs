//! A note beside a broker's socket of what became of its last reload: for a process that has sent the broker SIGHUP, which
//! has no answer.

use std::io;
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};

use crate::private_file::{PrivateFileError, read_private_file, write_passing_file};

/// How much of a report is noted, in bytes.
const MAX_REPORT: usize = 64 << 10;
const MAX_BYTES: u64 = (MAX_REPORT + 1024) as u64;
const FORMAT: &str = "fdbroker-reload-1";

/// What the note has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReloadNote {
    /// The process id of the broker.
    pub broker: i32,
    /// When the reload began: what is in the policy's files by then, it has read.
    pub began: u64,
    /// What is in force, or why the policy of before is.
    pub outcome: Result<String, String>,
}

impl ReloadNote {
    /// Where the note of the broker with this socket is.
    pub fn beside(socket: &Path) -> PathBuf {
        let mut name = socket.as_os_str().to_owned();
        name.push(".reload");
        name.into()
    }

    /// The time, as [`ReloadNote::began`] has it: nanoseconds of the clock that no one sets.
    pub fn now() -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        let [seconds, rest] = [now.tv_sec, now.tv_nsec].map(|part| part.unsigned_abs());
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    }

    /// Writes it, in the place of the last one.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let (word, report) = match &self.outcome {
            Ok(report) => ("ok", report),
            Err(report) => ("failed", report),
        };
        let end =
            (0..=report.len().min(MAX_REPORT)).rev().find(|end| report.is_char_boundary(*end));
        let report = end.and_then(|end| report.get(..end)).unwrap_or_default();
        let Self { broker, began, .. } = self;
        write_passing_file(path, &format!("{FORMAT} {broker} {began} {word}\n{report}"))
    }

    /// Reads it, if there is one that this version knows.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn read(path: &Path) -> Result<Option<Self>, PrivateFileError> {
        Ok(read_private_file(path, MAX_BYTES)?.and_then(|text| Self::parse(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let (head, report) = text.split_once('\n')?;
        let mut words = head.strip_prefix(FORMAT)?.split_whitespace();
        let (broker, began) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let outcome = match words.next()? {
            "ok" => Ok(report.to_owned()),
            "failed" => Err(report.to_owned()),
            _ => return None,
        };
        Some(Self { broker, began, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_and_a_long_report_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = ReloadNote::beside(&directory.path().join("socket"));
        assert_eq!(ReloadNote::read(&path).unwrap(), None);
        let began = ReloadNote::now();
        assert!(ReloadNote::now() >= began && began > 0);
        for outcome in [Ok("rules: 7\nmore".to_owned()), Err("resource \"x\": …".to_owned())] {
            let note = ReloadNote { broker: 7, began, outcome };
            note.write(&path).unwrap();
            assert_eq!(ReloadNote::read(&path).unwrap(), Some(note));
        }
        let long = ReloadNote { broker: 7, began, outcome: Err("é".repeat(MAX_REPORT)) };
        long.write(&path).unwrap();
        let read = ReloadNote::read(&path).unwrap().unwrap();
        assert_eq!(read.outcome.unwrap_err().len(), MAX_REPORT);
    }

    #[test]
    fn what_is_no_note_of_this_version_says_nothing() {
        for text in ["", "x", "fdbroker-reload-2 7 8 ok\n", "fdbroker-reload-1 7 8 good\n"] {
            assert_eq!(ReloadNote::parse(text), None, "{text}");
        }
    }
}
