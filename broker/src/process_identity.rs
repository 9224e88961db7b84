//! What a process is known by as long as this kernel runs, also to a supervisor that did not see it connect.
//!
//! A pid can be used again. So beside it stand the number of the process in pidfs, which no other one gets, and
//! the time of its start. A process that is not provably the same is not known.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::look::look;
use crate::process_number;

/// Where the time of its start is in a /proc/PID/stat behind the name, see proc_pid_stat(5).
const START: usize = 19;

/// A process. What is not known of it is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: i32,
    /// Its number in pidfs (Linux 6.9).
    pub(crate) number: u64,
    /// In ticks since the machine was booted.
    pub(crate) start: u64,
}

impl ProcessIdentity {
    /// Returns what the process is known by that has this pid and pidfd, or `None` if it has ended, or nothing tells
    /// it from one that gets its pid later.
    pub(crate) fn of(pid: i32, process: BorrowedFd<'_>) -> Option<Self> {
        let number = process_number::number(process).unwrap_or(0);
        let start = start(pid).unwrap_or(0);
        // Looked at last: as long as it lives, no other one has its pid.
        let is_known = (number, start) != (0, 0) && is_alive(process);
        is_known.then_some(Self { pid, number, start })
    }

    /// Opens it again, if it still lives and is provably the same.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let process = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        (Self::of(self.pid, process.as_fd()) == Some(self)).then_some(process)
    }
}

/// A pidfd is readable when its process has ended, see pidfd_open(2).
fn is_alive(process: BorrowedFd<'_>) -> bool {
    look(process, PollFlags::IN).is_ok_and(|found| !found.contains(PollFlags::IN))
}

fn start(pid: i32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // A program can put spaces and brackets into its name.
    let stat = String::from_utf8_lossy(&stat);
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(START)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn process() -> (Child, OwnedFd, i32) {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        (child, pidfd, pid.as_raw_pid())
    }

    #[test]
    fn a_process_that_lives_is_opened_again() {
        let (mut child, pidfd, pid) = process();
        let identity = ProcessIdentity::of(pid, pidfd.as_fd()).unwrap();
        assert!(identity.start > 0);
        let again = identity.open().unwrap();
        assert_eq!(process_number::number(again), process_number::number(&pidfd));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(identity.open().map(drop), None, "it has ended");
        assert_eq!(ProcessIdentity::of(pid, pidfd.as_fd()), None);
    }

    #[test]
    fn one_that_has_its_pid_and_is_another_is_not() {
        let (mut child, pidfd, pid) = process();
        let identity = ProcessIdentity::of(pid, pidfd.as_fd()).unwrap();
        for other in [
            ProcessIdentity { start: identity.start + 1, ..identity },
            ProcessIdentity { number: identity.number + 1, ..identity },
            ProcessIdentity { pid: 0, ..identity },
        ] {
            assert_eq!(other.open().map(drop), None, "{other:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
