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

/// What a process may do beyond what its user may: see capabilities(7), pid_namespaces(7) and seccomp(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its permitted capabilities, a bit each.
    capabilities: u64,
    /// In how many namespaces of processes it has a number, counted from the one of /proc.
    depth: usize,
    /// How many filters of system calls hold for it.
    filters: u32,
}

impl Standing {
    /// That of this process, as it is now.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::of(getpid())
    }

    /// That of a process. `None` where /proc does not tell: the filters, before Linux 5.9.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        let status = fs::read_to_string(path(pid, "status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            capabilities: u64::from_str_radix(field("CapPrm:")?.trim(), 16).ok()?,
            depth: field("NSpid:")?.split_whitespace().count(),
            filters: field("Seccomp_filters:")?.trim().parse().ok()?,
        })
    }

    /// Whether a process of this standing may do all that one of the other may.
    #[must_use]
    pub fn is_at_least(self, other: Self) -> bool {
        self.capabilities & other.capabilities == other.capabilities
            && self.depth <= other.depth
            && self.filters <= other.filters
    }

    /// Whether a process of this standing may look into others of other users (CAP_SYS_PTRACE).
    #[must_use]
    pub fn may_trace(self) -> bool {
        self.capabilities & TRACE != 0
    }

    /// Whether fewer filters of system calls hold for a process of this standing than for one of the other. One that a
    /// process started, or that such a one started, has as many at least.
    #[must_use]
    pub fn is_less_confined(self, other: Self) -> bool {
        self.filters < other.filters
    }
}

/// The bit of CAP_SYS_PTRACE, see linux/capability.h.
const TRACE: u64 = 1 << 19;

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
        let (its, own) = (Standing::of(pid).unwrap(), Standing::own().unwrap());
        assert!(!its.is_less_confined(own));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn who_has_fewer_capabilities_more_filters_or_is_deeper_may_do_less() {
        let own = Standing { capabilities: 0b110, depth: 2, filters: 1 };
        assert!(own.is_at_least(own));
        assert!(Standing { capabilities: 0b111, depth: 1, filters: 0 }.is_at_least(own));
        for lower in [
            Standing { capabilities: 0b101, ..own },
            Standing { depth: 3, ..own },
            Standing { filters: 2, ..own },
        ] {
            assert!(!lower.is_at_least(own), "{lower:?}");
        }
        assert!(!own.may_trace() && Standing { capabilities: TRACE, ..own }.may_trace());
        assert_eq!(Standing::own(), Standing::of(getpid()));
    }

    #[test]
    fn nothing_is_said_of_a_process_that_is_not_there() {
        let Some(nobody) = Pid::from_raw(i32::MAX) else { return };
        assert!(!has_same_user_ids(nobody) && Standing::of(nobody).is_none());
    }
}
