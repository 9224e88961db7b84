//! Processes that are killed, and reaped: none of them stays as a zombie.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::look::timespec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long they may take to be gone after SIGKILL.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// Kills processes, and waits until they are gone. Returns those that still are not: they are to be reaped later.
/// Not to be called on the loop.
pub(super) fn end(mut processes: Vec<Child>) -> Vec<Child> {
    // One may have ended just now; then there is nothing to kill.
    processes.iter_mut().for_each(|process| drop(process.kill()));
    let until = Instant::now() + AFTER_KILL;
    processes.retain_mut(|process| !is_gone(process, until));
    processes
}

/// Reaps those that have ended, and leaves the others in their list.
pub(super) fn reap(processes: &mut Vec<Child>) {
    processes.retain_mut(|process| matches!(process.try_wait(), Ok(None)));
}

fn is_gone(process: &mut Child, until: Instant) -> bool {
    let pidfd = pidfd_open(Pid::from_child(process), PidfdFlags::empty());
    // Without a pidfd, it may be gone all the same.
    let _ = pidfd.and_then(|pidfd| wait_until(&pidfd, until));
    !matches!(process.try_wait(), Ok(None))
}

/// Waits until there is something to read, or to be told.
///
/// # Errors
/// TIMEDOUT; as poll(2).
pub(super) fn wait_until(descriptor: &OwnedFd, until: Instant) -> rustix::io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&timespec(left))) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Err(Errno::INTR) => {}
            result => return result.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_is_killed_is_reaped() {
        let sleeps = || Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let mut ended = sleeps();
        ended.kill().unwrap();
        let processes = vec![sleeps(), ended, sleeps()];
        let numbers: Vec<_> = processes.iter().map(Child::id).collect();
        assert!(end(processes).is_empty());
        for number in numbers {
            let exists = std::path::Path::new(&format!("/proc/{number}")).exists();
            assert!(!exists, "{number} is a zombie");
        }
    }
}
