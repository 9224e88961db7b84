//! Who is at the other end: what the kernel says, read at accept before any byte.
//!
//! Nothing here follows a pid to somebody else: the pidfd keeps naming the process that
//! connected, and the pid is for the log.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use fdbroker_policy::{Gid, Peer, Uid};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::log::{Kind, Name, Record, Subject, Verdict};
use crate::look::look;
use crate::sys::peer;
use crate::sys::receive::Sender;

/// The identity of a process, as a plain value.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The effective user id when it connected.
    pub(crate) uid: Uid,
    /// The effective group id when it connected.
    pub(crate) gid: Gid,
    /// The supplementary groups when it connected.
    pub(crate) groups: Vec<Gid>,
    /// For the log; 0 for a process of a pid namespace that ours does not see.
    pub(crate) pid: i32,
    /// The process itself, where the kernel gives it.
    pub(crate) process: Option<Rc<OwnedFd>>,
}

impl Identity {
    /// The identity of whoever connected `socket`.
    ///
    /// # Errors
    /// When the kernel does not tell: such a peer must not be served.
    pub(crate) fn of(socket: impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd();
        let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
        let pid = credentials.pid();
        Ok(Self {
            uid: Uid(credentials.uid()),
            gid: Gid(credentials.gid()),
            groups: peer::groups(socket)?,
            pid,
            process: process(&socket, pid).map(Rc::new),
        })
    }

    /// The process that wrote a message, when it is not the one that connected: its ids as the
    /// kernel stamped them on the message, its groups as the kernel lists them now.
    ///
    /// # Errors
    /// When its groups cannot be read, or it is no longer the same: it must not be served.
    pub(crate) fn of_sender(sender: Sender) -> Result<Self, Unreadable> {
        let pid =
            Pid::from_raw(sender.pid).ok_or(Unreadable("it lives in a foreign pid namespace"))?;
        let process =
            pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Unreadable("it has ended"))?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", sender.pid))
            .map_err(|_| Unreadable("its groups cannot be read"))?;
        let (uids, groups) =
            parse_status(&status).ok_or(Unreadable("its groups cannot be read"))?;
        // Signal 0: the process of the pidfd still exists, so the status read was its own, unless
        // the pid was recycled before pidfd_open; then its user must at least be the same one.
        if !uids.contains(&sender.uid) || ended(&process) {
            return Err(Unreadable("it is no longer the same"));
        }
        Ok(Self {
            uid: Uid(sender.uid),
            gid: Gid(sender.gid),
            groups,
            pid: sender.pid,
            process: Some(Rc::new(process)),
        })
    }

    /// Whether a message's sender is the process that connected, and has the same user and group.
    pub(crate) fn wrote(&self, sender: &Sender) -> bool {
        self.uid.0 == sender.uid && self.gid.0 == sender.gid && self.pid == sender.pid
    }

    /// What the policy asks of it.
    pub(crate) fn peer(&self) -> Peer<'_> {
        Peer::new(self.uid, self.gid, &self.groups)
    }

    /// A record of a request of its, that says nothing yet.
    pub(crate) fn record(&self) -> Record<'_> {
        Record {
            kind: Kind::Decision,
            uid: self.uid,
            gid: self.gid,
            pid: self.pid,
            unit: "none",
            right: "none",
            subject: Subject::Nothing,
            name: Name::None,
            verdict: Verdict::Granted,
            rule: None,
            sender: None,
            reason: "",
            count: 1,
        }
    }
}

/// Why a sender's identity is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable(&'static str);

impl Unreadable {
    /// Bytes of one message came from more than one process.
    pub(crate) const SEVERAL: Self = Self("more than one process wrote the message");
    /// The kernel did not say.
    pub(crate) const NO_CREDENTIALS: Self = Self("the message came without credentials");
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the identity of the sender is not known: {}", self.0)
    }
}

/// The process that connected: from the socket itself (SO_PEERPIDFD, Linux 6.5), else by its
/// pid, which is then only as good as a pid.
fn process(socket: &impl AsFd, pid: i32) -> Option<OwnedFd> {
    match getsockopt(socket, sockopt::PeerPidfd) {
        Ok(process) => Some(process),
        Err(Errno::ENOPROTOOPT) => pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok(),
        // It has ended, or its namespace is not ours to see.
        Err(_) => None,
    }
}

/// Whether this kernel names the process behind a socket itself.
pub(crate) fn kernel_names_processes(socket: &OwnedFd) -> bool {
    !matches!(getsockopt(socket, sockopt::PeerPidfd), Err(Errno::ENOPROTOOPT))
}

fn ended(process: &OwnedFd) -> bool {
    !look(process.as_fd(), PollFlags::IN).is_ok_and(|found| found.is_empty())
}

/// The user ids (real, effective, saved, file system) and supplementary groups of a
/// /proc/PID/status, see proc_pid_status(5).
fn parse_status(status: &str) -> Option<(Vec<u32>, Vec<Gid>)> {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let numbers = |text: &str| -> Option<Vec<u32>> {
        text.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    let groups = numbers(line("Groups:")?)?.into_iter().map(Gid).collect();
    Some((numbers(line("Uid:")?)?, groups))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use fdbroker_policy::Gid;

    use super::{Identity, parse_status};
    use crate::sys::receive::Sender;

    #[test]
    fn a_connection_tells_who_made_it() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let identity = Identity::of(&ours).unwrap();
        assert_eq!(identity.uid.0, rustix::process::geteuid().as_raw());
        assert_eq!(identity.pid, rustix::process::getpid().as_raw_nonzero().get());
    }

    #[test]
    fn a_sender_is_read_with_the_groups_the_kernel_lists() {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let identity = Identity::of_sender(Sender { pid, uid, gid }).unwrap();
        let mut groups: Vec<u32> = identity.groups.iter().map(|gid| gid.0).collect();
        let mut expected: Vec<u32> =
            nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        groups.sort_unstable();
        expected.sort_unstable();
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_sender_that_cannot_be_seen_is_not_known() {
        assert!(Identity::of_sender(Sender { pid: 0, uid: 0, gid: 0 }).is_err());
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        assert!(Identity::of_sender(Sender { pid, uid: 4_000_000, gid: 0 }).is_err());
    }

    #[test]
    fn a_status_without_groups_is_no_status() {
        assert_eq!(parse_status("Uid:\t1\t2\t3\t4\n"), None);
        let (uids, groups) = parse_status("Uid:\t1\t2\t3\t4\nGroups:\t5 6 \n").unwrap();
        assert_eq!((uids, groups), (vec![1, 2, 3, 4], vec![Gid(5), Gid(6)]));
    }
}
