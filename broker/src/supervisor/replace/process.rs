//! The process of the broker at the other end of a connection: which one it is, and whether it lives.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_host::{cgroup_of, has_exited, is_alive, name_of, program_of, unit_of_cgroup};
use fdbroker_policy::{Gid, Uid};
use fdbroker_types::quoted;
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, test_kill_process};

use crate::log::{Kind, Record, Verdict};

/// How long a process whose connection has ended may take to end.
const ENDS: Duration = Duration::from_millis(200);
/// The pause between two looks.
pub(super) const STEP: Duration = Duration::from_millis(2);

/// A process, as the kernel named it when it connected or listened.
pub(crate) struct BrokerProcess {
    uid: Uid,
    gid: Gid,
    /// 0 for a process that this one does not see.
    pid: i32,
    pidfd: Option<OwnedFd>,
    unit: Option<String>,
    program: Option<String>,
}

impl BrokerProcess {
    /// # Errors
    /// As getsockopt(2).
    pub(super) fn of(stream: &OwnedFd) -> Result<Self, String> {
        let peer = getsockopt(stream, sockopt::PeerCredentials).map_err(|it| it.to_string())?;
        let (uid, gid, pid) = (Uid(peer.uid()), Gid(peer.gid()), peer.pid());
        let seen = Pid::from_raw(pid);
        let pidfd = seen.and_then(|pid| pidfd(stream, pid));
        let cgroup = seen.zip(pidfd.as_ref()).and_then(|(pid, it)| cgroup_of(pid, it.as_fd()));
        let unit = cgroup.map(|path| unit_of_cgroup(&path).unwrap_or("none").to_owned());
        Ok(Self { uid, gid, pid, pidfd, unit, program: seen.and_then(program_of) })
    }

    pub(super) fn uid(&self) -> Uid {
        self.uid
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// What names the process itself. `None` if it is not certain which one that is.
    pub(super) fn pidfd(&self) -> Option<&OwnedFd> {
        self.pidfd.as_ref()
    }

    /// A record of what it asked for.
    pub(crate) fn record<'a>(&'a self, verdict: Verdict, reason: &'a str) -> Record<'a> {
        let unit = self.unit.as_deref().unwrap_or("unknown");
        let (kind, right) = (Kind::HandOver, "replace");
        Record { kind, right, verdict, reason, ..Record::of(self.uid, self.gid, self.pid, unit) }
    }

    /// Its program, for a person.
    pub(crate) fn program(&self) -> String {
        self.program.as_ref().map_or("unknown".to_owned(), |program| quoted(program).to_string())
    }

    /// Whether it has ended, or its main thread has.
    pub(super) fn has_ended(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        // Without a pidfd its number may be another's by now. That nobody has it is certain.
        let is_there = match &self.pidfd {
            Some(pidfd) => is_alive(pidfd.as_fd()),
            None => test_kill_process(pid) != Err(rustix::io::Errno::SRCH),
        };
        !is_there || has_exited(pid)
    }

    /// Whether it has ended, or is about to.
    pub(crate) fn is_ending(&self) -> bool {
        let until = Instant::now() + ENDS;
        while !self.has_ended() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(STEP);
        }
        true
    }
}

/// What names the process at the other end: from the socket itself (SO_PEERPIDFD, Linux 6.5). Before that, from its
/// number, if that is still one of a broker.
fn pidfd(stream: &OwnedFd, pid: Pid) -> Option<OwnedFd> {
    match getsockopt(stream, sockopt::PeerPidfd) {
        Ok(pidfd) => Some(pidfd),
        Err(Errno::ENOPROTOOPT) => {
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            let is_broker = name_of(pid).is_some_and(|name| Some(name) == name_of(getpid()));
            is_broker.then_some(pidfd)
        }
        // It has ended, or its namespace is not ours to see.
        Err(_) => None,
    }
}
