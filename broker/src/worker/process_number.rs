//! What tells one process from every other, where it has no pid here: the number that its pidfd has
//! in pidfs (Linux 6.9), which no other process is given.

use std::os::fd::{AsFd, OwnedFd};

use fdbroker_policy::Kind;
use rustix::fs::{FsWord, fstat, fstatfs};

use super::kind;
use crate::fd::PeerFd;

/// The type of that file system, see statfs(2).
const PIDFS: FsWord = 0x5049_4446;

/// The number of a process; none where the kernel has no pidfs.
pub(super) fn number(process: impl AsFd) -> Option<u64> {
    let is_pidfs = fstatfs(&process).is_ok_and(|system| system.f_type == PIDFS);
    fstat(&process).ok().filter(|_| is_pidfs).map(|found| found.st_ino)
}

/// Returns the pidfd that an earlier worker left, or `None` if it is something else. A worker that was
/// taken over can have left anything, and not everything can be watched without waiting for its file
/// system.
pub(super) fn pidfd(left: PeerFd) -> Option<OwnedFd> {
    if kind::of(left.descriptor()) == Kind::Pidfd { left.into_inner() } else { None }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

    use super::number;

    #[test]
    fn a_process_has_the_same_number_each_time_and_another_one_has_another() {
        let of = |pid| number(pidfd_open(pid, PidfdFlags::empty()).unwrap());
        let Some(own) = of(getpid()) else {
            return eprintln!("skipped: this kernel has no pidfs");
        };
        assert_eq!(of(getpid()), Some(own));
        let mut other = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert_ne!(of(Pid::from_child(&other)), Some(own));
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(number(std::io::stdin()), None, "no process");
    }
}
