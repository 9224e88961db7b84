//! Who is at the other end: what the kernel says, read at accept before any byte.
//!
//! Nothing here follows a pid to somebody else: the pidfd keeps naming the process that
//! connected, and the pid is for the log.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use fdbroker_host::{Process, ProcessError, unit_of_cgroup};
use fdbroker_policy::{Gid, Peer, Uid};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::log::Record;
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
    /// Where it runs; none when that could not be read, because it has ended or its namespace is
    /// not ours to see.
    place: Option<ControlGroup>,
    /// Its security label, where there is one.
    label: Option<String>,
    /// Whether what is read of control groups means anything here.
    sees_units: bool,
}

/// The control group that a process is in; none where it cannot be named from here.
#[derive(Clone, Debug)]
struct ControlGroup(Option<String>);

impl ControlGroup {
    fn path(&self) -> Option<&str> {
        self.0.as_deref()
    }

    fn unit(&self) -> Option<&str> {
        self.path().and_then(unit_of_cgroup)
    }
}

impl Identity {
    /// The identity of whoever connected `socket`.
    ///
    /// # Errors
    /// When the kernel does not tell: such a peer must not be served.
    pub(crate) fn of(socket: impl AsFd, sees_units: bool) -> io::Result<Self> {
        let socket = socket.as_fd();
        let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
        let (pid, uid) = (credentials.pid(), Uid(credentials.uid()));
        let process = process(&socket, pid);
        let read = process.as_ref().and_then(|process| read(pid, process, uid));
        Ok(Self {
            uid,
            gid: Gid(credentials.gid()),
            groups: peer::groups(socket)?,
            pid,
            process: process.map(Rc::new),
            place: read.map(|read| ControlGroup(read.cgroup)),
            label: peer::label(socket),
            sees_units,
        })
    }

    /// The process that wrote a message, when it is not the one that connected: its ids as the
    /// kernel stamped them on the message, its groups as the kernel lists them now.
    ///
    /// # Errors
    /// When its groups cannot be read, or it is no longer the same: it must not be served.
    pub(crate) fn of_sender(sender: Sender, sees_units: bool) -> Result<Self, Unreadable> {
        let pid =
            Pid::from_raw(sender.pid).ok_or(Unreadable("it lives in a foreign pid namespace"))?;
        let process =
            pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Unreadable("it has ended"))?;
        let read = Process::read(pid, process.as_fd()).map_err(|error| match error {
            ProcessError::Ended => Unreadable("it has ended"),
            ProcessError::Unreadable { .. } => Unreadable("its groups cannot be read"),
        })?;
        // What was read is the pidfd's own, unless the pid was recycled before pidfd_open; then
        // its user must at least be the same one.
        let uid = Uid(sender.uid);
        if !read.uids.contains(&uid) {
            return Err(Unreadable("it is no longer the same"));
        }
        Ok(Self {
            uid,
            gid: Gid(sender.gid),
            groups: read.groups,
            pid: sender.pid,
            process: Some(Rc::new(process)),
            place: Some(ControlGroup(read.cgroup)),
            label: read.label,
            sees_units,
        })
    }

    /// Whether a message's sender is the process that connected, and has the same user and group.
    pub(crate) fn wrote(&self, sender: &Sender) -> bool {
        self.uid.0 == sender.uid && self.gid.0 == sender.gid && self.pid == sender.pid
    }

    /// What the policy asks of it.
    pub(crate) fn peer(&self) -> Peer<'_> {
        let place = self.place();
        Peer {
            unit: place.and_then(ControlGroup::unit),
            cgroup: place.and_then(ControlGroup::path),
            label: self.label.as_deref(),
            out_of_sight: place.is_none(),
            ..Peer::new(self.uid, self.gid, &self.groups)
        }
    }

    /// Where it runs, as far as that can be told.
    fn place(&self) -> Option<&ControlGroup> {
        let place = self.place.as_ref().filter(|place| place.path().is_some());
        place.filter(|_| self.sees_units)
    }

    /// Whether what is read of control groups means anything here.
    pub(crate) fn sees_units(&self) -> bool {
        self.sees_units
    }

    /// The unit that it runs in, for the audit trail.
    fn unit(&self) -> &str {
        match self.place() {
            None => "unknown",
            Some(place) => place.unit().unwrap_or("none"),
        }
    }

    /// A record of a request of its, that says nothing yet.
    pub(crate) fn record(&self) -> Record<'_> {
        Record::of(self.uid, self.gid, self.pid, self.unit())
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

/// What else the kernel says of the process that connected as `uid`.
///
/// Where the kernel named the process itself, it is the very same. Where it was found by its pid,
/// that may have been recycled: then at least one of its users must be the one who connected.
fn read(pid: i32, process: &OwnedFd, uid: Uid) -> Option<Process> {
    let read = Process::read(Pid::from_raw(pid)?, process.as_fd()).ok()?;
    read.uids.contains(&uid).then_some(read)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::Identity;
    use crate::sys::receive::Sender;

    #[test]
    fn a_connection_tells_who_made_it() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let identity = Identity::of(&ours, true).unwrap();
        assert_eq!(identity.uid.0, rustix::process::geteuid().as_raw());
        assert_eq!(identity.pid, rustix::process::getpid().as_raw_nonzero().get());
    }

    #[test]
    fn a_sender_is_read_with_the_groups_the_kernel_lists() {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let identity = Identity::of_sender(Sender { pid, uid, gid }, true).unwrap();
        let mut groups: Vec<u32> = identity.groups.iter().map(|gid| gid.0).collect();
        let mut expected: Vec<u32> =
            nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        groups.sort_unstable();
        expected.sort_unstable();
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_sender_that_cannot_be_seen_is_not_known() {
        assert!(Identity::of_sender(Sender { pid: 0, uid: 0, gid: 0 }, true).is_err());
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        assert!(Identity::of_sender(Sender { pid, uid: 4_000_000, gid: 0 }, true).is_err());
    }
}
