//! Who is at the other end: what the kernel says, read at accept before any byte.
//!
//! Nothing here follows a pid to somebody else: the pidfd keeps naming the process that
//! connected, and the pid is for the log.

pub(crate) mod lookup;
pub(crate) mod writer;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};

use fdbroker_host::{MAX_GROUPS, Process, ProcessError, cgroup_of, unit_of_cgroup};
use fdbroker_policy::{Conditions, Gid, LONGEST_CGROUP, Peer, Right, Target, Uid, Verdict};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::log::Record;
use crate::sys::peer;
use crate::sys::receive::Sender;
use crate::worker::limits::forgetful::Forgetful;
use crate::worker::policy::active::Rules;

/// The identity of a process, as a plain value.
pub(crate) struct Identity {
    /// The effective user id when it connected.
    pub(crate) uid: Uid,
    /// The effective group id when it connected.
    pub(crate) gid: Gid,
    /// The supplementary groups when it connected.
    pub(crate) groups: Rc<[Gid]>,
    /// For the log; 0 for a process of a pid namespace that ours does not see.
    pub(crate) pid: i32,
    /// The process itself, if the kernel provides a pidfd.
    pub(crate) process: Option<Rc<OwnedFd>>,
    /// The control group; `None` if it could not be read, because the process has ended or its
    /// namespace is not ours to see.
    place: Option<ControlGroup>,
    /// Its security label, where there is one.
    label: Option<String>,
    /// Whether what is read of control groups means anything here.
    sees_units: bool,
    /// It has ended, and nothing else is known of it.
    vanished: bool,
    /// Which conditions of the policy it meets.
    met: Met,
}

/// Which conditions of a policy an identity meets, and of which generation of the policy that is.
#[derive(Default)]
struct Met(RefCell<Option<(u32, Rc<Conditions>)>>);

impl Met {
    fn under(&self, rules: &Rules) -> Rc<Conditions> {
        let mut known = self.0.borrow_mut();
        match &*known {
            Some((generation, conditions)) if *generation == rules.generation => {
                Rc::clone(conditions)
            }
            _ => {
                let conditions = Rc::new(rules.policy.conditions());
                *known = Some((rules.generation, Rc::clone(&conditions)));
                conditions
            }
        }
    }
}

/// The control group that a process is in; no path where it cannot be named from here.
#[derive(Clone, Debug)]
struct ControlGroup {
    path: Option<String>,
    /// Found once: each record names it.
    unit: Option<String>,
}

impl ControlGroup {
    fn new(path: Option<String>) -> Self {
        let unit = path.as_deref().and_then(unit_of_cgroup).map(ToOwned::to_owned);
        Self { path, unit }
    }

    fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }
}

impl Identity {
    /// Returns the identity of the process that connected `socket`.
    ///
    /// # Errors
    /// If the kernel does not tell: such a peer must not be served.
    pub(crate) fn of(socket: impl AsFd, sees_units: bool) -> io::Result<Self> {
        let socket = socket.as_fd();
        let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
        let (pid, uid) = (credentials.pid(), Uid(credentials.uid()));
        let process = process(&socket, pid);
        let place =
            process.as_ref().and_then(|(process, certain)| place(pid, process, *certain, uid));
        Ok(Self {
            uid,
            gid: Gid(credentials.gid()),
            groups: groups(socket)?,
            pid,
            process: process.map(|(process, _)| Rc::new(process)),
            place,
            label: peer::label(socket),
            sees_units,
            vanished: false,
            met: Met::default(),
        })
    }

    /// The process that wrote a message, when it is not the one that connected: its ids as the
    /// kernel stamped them on the message, all else as the kernel says it now.
    ///
    /// # Errors
    /// When it is no longer the same: it must not be served.
    pub(crate) fn of_sender(
        sender: Sender,
        seen: Seen,
        sees_units: bool,
    ) -> Result<Self, Unreadable> {
        let Seen { process, read } = seen;
        // What was read is the writer's own where the kernel named it. Where it was found by its pid,
        // that may have been recycled: then its user must at least be the same one.
        let uid = Uid(sender.uid);
        if !read.uids.contains(&uid) {
            return Err(Unreadable("it is no longer the same"));
        }
        Ok(Self {
            uid,
            gid: Gid(sender.gid),
            groups: in_order(read.groups),
            pid: sender.pid,
            process: Some(process.into()),
            place: Some(ControlGroup::new(read.cgroup)),
            label: read.label,
            sees_units,
            vanished: false,
            met: Met::default(),
        })
    }

    /// A process that wrote a message, had the pid, user and group of the one that connected, and has ended.
    /// It was that one, or had its pid after it: nothing else that is known of that one counts.
    pub(crate) fn vanished(sender: Sender, sees_units: bool) -> Self {
        Self {
            uid: Uid(sender.uid),
            gid: Gid(sender.gid),
            groups: Rc::default(),
            pid: sender.pid,
            process: None,
            place: None,
            label: None,
            sees_units,
            vanished: true,
            met: Met::default(),
        }
    }

    /// Whether a message's sender has the pid, user and group of the process that connected. That makes it
    /// the same only as long as that has not ended.
    pub(crate) fn has_numbers_of(&self, sender: &Sender) -> bool {
        self.uid.0 == sender.uid && self.gid.0 == sender.gid && self.pid == sender.pid
    }

    /// Decides under a policy.
    pub(crate) fn decide<'p>(&self, rules: &'p Rules, right: Right, target: Target) -> Verdict<'p> {
        let conditions = self.met.under(rules);
        rules.policy.outcome_with(&self.peer(), &conditions, right, target, rules.now())
    }

    /// What the policy asks of it.
    pub(crate) fn peer(&self) -> Peer<'_> {
        let place = self.place();
        Peer {
            unit: place.and_then(ControlGroup::unit),
            cgroup: place.and_then(ControlGroup::path),
            label: self.label.as_deref(),
            out_of_sight: place.is_none(),
            vanished: self.vanished,
            ..Peer::new(self.uid, self.gid, &self.groups)
        }
    }

    /// Returns the control group, as far as it can be told. A path that is longer than any of a
    /// service manager is ignored: a user who may make control groups could use up everybody's time
    /// with it.
    fn place(&self) -> Option<&ControlGroup> {
        let known = |path: &str| path.len() <= LONGEST_CGROUP;
        let place = self.place.as_ref().filter(|place| place.path().is_some_and(known));
        place.filter(|_| self.sees_units)
    }

    /// Whether what is read of control groups means anything here.
    pub(crate) fn sees_units(&self) -> bool {
        self.sees_units
    }

    /// The unit that it runs in, for the audit trail.
    pub(crate) fn unit(&self) -> &str {
        match self.place() {
            None => "unknown",
            Some(place) => place.unit().unwrap_or("none"),
        }
    }

    /// Its unit, if it is known to have one.
    pub(crate) fn known_unit(&self) -> Option<&str> {
        self.place()?.unit()
    }

    /// A record of a request of its, that says nothing yet.
    pub(crate) fn record(&self) -> Record<'_> {
        Record::of(self.uid, self.gid, self.pid, self.unit())
    }
}

/// Why a sender's identity is not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable(&'static str);

impl Unreadable {
    /// Bytes of one message came from more than one process.
    pub(crate) const SEVERAL: Self = Self("more than one process wrote the message");
    /// The kernel did not say.
    pub(crate) const NO_CREDENTIALS: Self = Self("the message came without credentials");
    /// It cannot be looked up by a number.
    const FOREIGN: Self = Self("it lives in a foreign pid namespace");
    pub(crate) const ENDED: Self = Self("it has ended");
    /// A thread that reads has failed.
    pub(crate) const NOT_READ: Self = Self("it was not looked up");
}

/// A process, and what was read of it.
pub(crate) struct Seen {
    process: OwnedFd,
    read: Process,
}

impl Seen {
    /// Reads what the kernel says of the process that wrote a message: of `process`, where the kernel has
    /// named it, or else of the one that has its pid now. Takes its time, and so belongs on a thread.
    ///
    /// # Errors
    /// When it has ended, or its groups cannot be read: it must not be served.
    pub(crate) fn read(sender: Sender, process: Option<OwnedFd>) -> Result<Self, Unreadable> {
        let pid = Pid::from_raw(sender.pid).ok_or(Unreadable::FOREIGN)?;
        let process = match process {
            Some(process) => process,
            None => pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Unreadable::ENDED)?,
        };
        let read = Process::read(pid, process.as_fd()).map_err(|error| match error {
            ProcessError::Ended => Unreadable::ENDED,
            ProcessError::TooManyGroups => Unreadable("it is in too many groups"),
            ProcessError::Unreadable { .. } => Unreadable("its groups cannot be read"),
        })?;
        Ok(Self { process, read })
    }
}

/// The sets of groups that users' connections have, so that equal ones are kept once: the last one of
/// each user.
#[derive(Default)]
pub(crate) struct GroupSets(RefCell<Forgetful<Uid, Weak<[Gid]>>>);

impl GroupSets {
    /// Lets an identity share its groups with the user's other connections, if they are the same.
    pub(crate) fn share(&self, identity: &mut Identity) {
        let own = || Rc::downgrade(&identity.groups);
        let connected = |set: &mut Weak<_>| set.strong_count() > 0;
        let mut sets = self.0.borrow_mut();
        let last = sets.entry(identity.uid, connected).or_insert_with(own);
        match last.upgrade() {
            Some(known) if known == identity.groups => identity.groups = known,
            _ => *last = own(),
        }
    }
}

/// Returns the supplementary groups of the process that connected `socket`.
fn groups(socket: BorrowedFd<'_>) -> io::Result<Rc<[Gid]>> {
    match peer::groups(socket, MAX_GROUPS)? {
        peer::Groups::Are(groups) => Ok(in_order(groups)),
        peer::Groups::TooMany(number) => Err(io::Error::other(format!(
            "its process is in {number} supplementary groups; more than {MAX_GROUPS} are not \
             supported"
        ))),
    }
}

/// Sorted, and each once.
fn in_order(mut groups: Vec<Gid>) -> Rc<[Gid]> {
    groups.sort_unstable();
    groups.dedup();
    groups.into()
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the identity of the sender is not known: {}", self.0)
    }
}

/// The process that connected, and whether that is certain: from the socket itself (SO_PEERPIDFD, Linux
/// 6.5), else by its pid, which is then only as good as a pid.
fn process(socket: &impl AsFd, pid: i32) -> Option<(OwnedFd, bool)> {
    match getsockopt(socket, sockopt::PeerPidfd) {
        Ok(process) => Some((process, true)),
        Err(Errno::ENOPROTOOPT) => {
            let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            Some((process, false))
        }
        // It has ended, or its namespace is not ours to see.
        Err(_) => None,
    }
}

/// Whether this kernel names the process behind a socket itself.
pub(crate) fn kernel_names_processes(socket: &OwnedFd) -> bool {
    !matches!(getsockopt(socket, sockopt::PeerPidfd), Err(Errno::ENOPROTOOPT))
}

/// Where the process runs that connected as `uid`.
///
/// Where the kernel named the process itself, it is the very same. Where it was found by its pid,
/// that may have been recycled: then at least one of its users must be the one who connected.
fn place(pid: i32, process: &OwnedFd, certain: bool, uid: Uid) -> Option<ControlGroup> {
    let pid = Pid::from_raw(pid)?;
    if certain {
        return Some(ControlGroup::new(cgroup_of(pid, process.as_fd())));
    }
    let read = Process::read(pid, process.as_fd()).ok()?;
    read.uids.contains(&uid).then(|| ControlGroup::new(read.cgroup))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::{Identity, Seen, Unreadable};
    use crate::sys::receive::Sender;

    fn of_sender(sender: Sender) -> Result<Identity, Unreadable> {
        Identity::of_sender(sender, Seen::read(sender, None)?, true)
    }

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
        let identity = of_sender(Sender { pid, uid, gid }).unwrap();
        let mut groups: Vec<u32> = identity.groups.iter().map(|gid| gid.0).collect();
        let mut expected: Vec<u32> =
            nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        groups.sort_unstable();
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_sender_that_cannot_be_seen_is_not_known() {
        assert!(of_sender(Sender { pid: 0, uid: 0, gid: 0 }).is_err());
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        assert!(of_sender(Sender { pid, uid: 4_000_000, gid: 0 }).is_err());
    }
}
