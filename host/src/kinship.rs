//! How another process stands to this one: whether user ids mean the same to both, and how confined each is.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, getpid};

/// Whether user ids mean the same to a process as to this one (user_namespaces(7)). False where /proc does not tell.
#[must_use]
pub fn has_same_user_ids(pid: Pid) -> bool {
    // Of a process in our own namespace, the kernel shows what our own file shows.
    let map = |pid| fs::read_to_string(path(pid, "uid_map"));
    map(pid).is_ok_and(|its| map(getpid()).is_ok_and(|own| own == its))
}

/// Whether fewer filters of system calls hold for a process than for this one (Linux 5.9). One that this process started, or
/// that such a one started, has as many at least. False where the kernel does not tell.
#[must_use]
pub fn is_less_confined(pid: Pid) -> bool {
    filters(pid).is_some_and(|its| filters(getpid()).is_some_and(|own| its < own))
}

fn filters(pid: Pid) -> Option<u32> {
    let status = fs::read_to_string(path(pid, "status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"))?;
    line.trim().parse().ok()
}

fn path(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{name}", pid.as_raw_nonzero()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_has_the_same_user_ids_and_is_not_less_confined() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(has_same_user_ids(pid));
        assert!(!is_less_confined(pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn nothing_is_said_of_a_process_that_is_not_there() {
        let Some(nobody) = Pid::from_raw(i32::MAX) else { return };
        assert!(!has_same_user_ids(nobody) && !is_less_confined(nobody));
    }
}
