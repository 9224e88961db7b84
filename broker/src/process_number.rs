//! What tells one process from every other, where it has no pid here: the number that its pidfd has
//! in pidfs (Linux 6.9), which no other process is given.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FsWord, fstat, fstatfs};

use crate::fd::PeerFd;

/// The type of that file system, see statfs(2).
const PIDFS: FsWord = 0x5049_4446;

/// Returns the number of a process, or `None` if the kernel has no pidfs.
pub(crate) fn number(process: impl AsFd) -> Option<u64> {
    let is_pidfs = fstatfs(&process).is_ok_and(|system| system.f_type == PIDFS);
    fstat(&process).ok().filter(|_| is_pidfs).map(|found| found.st_ino)
}

/// Whether it is a pidfd, as proc_pid_fd(5) names it. No file system is asked for that.
pub(crate) fn is_pidfd(descriptor: BorrowedFd<'_>) -> bool {
    let name = std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
    let name = name.unwrap_or_default();
    // The second is what it was called before pidfs. A path begins with a slash.
    name.to_str().is_some_and(|name| name.starts_with("pidfd:") || name == "anon_inode:[pidfd]")
}

/// Returns the pidfd that an earlier worker left, or `None` if it is something else. A worker that was
/// taken over can have left anything, and not everything can be watched without waiting for its file
/// system.
pub(crate) fn pidfd(left: PeerFd) -> Option<OwnedFd> {
    if left.descriptor().is_some_and(is_pidfd) { left.into_inner() } else { None }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

    use super::{is_pidfd, number};

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

    #[test]
    fn a_pidfd_is_told_from_a_file_of_that_name() {
        assert!(is_pidfd(pidfd_open(getpid(), PidfdFlags::empty()).unwrap().as_fd()));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pidfd:[1]");
        assert!(!is_pidfd(std::fs::File::create(path).unwrap().as_fd()));
    }
}
