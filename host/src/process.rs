//! What the kernel says of a living process: its users and groups, its control group, its security label.
//!
//! Everything is read under a descriptor of the process, and counts only if the process still lives afterwards: so what
//! was read is its own, and a number that was used again cannot lie.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use fdbroker_policy::{Gid, Peer, Uid, unit_of_cgroup};
use fdbroker_types::quoted;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How many supplementary groups a process may be in. A process in more groups is not served. A
/// user can put itself into 65536 of its subordinate groups, or as often into one, and each has to
/// be looked at. A Windows domain has at most 1015.
pub const MAX_GROUPS: usize = 1024;

/// The greatest file of /proc that is read, in bytes: [`MAX_GROUPS`] groups and all else in a status take less.
const MAX_BYTES: u64 = 16 * 1024;

/// The identity of a process, as plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its user: real, effective, saved, and of the file system.
    pub uids: [Uid; 4],
    /// Its group, in the same order.
    pub gids: [Gid; 4],
    /// Its supplementary groups.
    pub groups: Vec<Gid>,
    /// The path of its control group. `None` if there is none, or none that can be named from here.
    pub cgroup: Option<String>,
    /// Its security label. `None` if there is none.
    pub label: Option<String>,
}

/// A process of which nothing certain can be said.
#[derive(Debug)]
pub enum ProcessError {
    /// It has ended, or there never was one of this number.
    Ended,
    /// It is in more than [`MAX_GROUPS`] supplementary groups.
    TooManyGroups,
    /// What must be known of it cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Process {
    /// Reads what the kernel says of the process `pid`, which `pidfd` names too. Each file is read
    /// once.
    ///
    /// # Errors
    /// [`ProcessError`] if it has ended, even while it is read, or its users and groups cannot be
    /// read. A control group or a label that cannot be read is `None`.
    pub fn read(pid: Pid, pidfd: BorrowedFd<'_>) -> Result<Self, ProcessError> {
        let status =
            read(pid, "status").map_err(|source| ProcessError::of(pid, "status", source))?;
        let (cgroup, label) = (cgroup(pid), label(pid));
        if !is_alive(pidfd) {
            return Err(ProcessError::Ended);
        }
        if status.len() as u64 >= MAX_BYTES {
            return Err(ProcessError::TooManyGroups);
        }
        let (uids, gids, groups) = parse_status(&String::from_utf8_lossy(&status))
            .ok_or_else(|| ProcessError::of(pid, "status", io::ErrorKind::InvalidData.into()))?;
        if groups.len() > MAX_GROUPS {
            return Err(ProcessError::TooManyGroups);
        }
        Ok(Self { uids, gids, groups, cgroup, label })
    }

    /// Opens the process of this number, and reads what the kernel says of it.
    ///
    /// # Errors
    /// As [`Process::read`].
    pub fn of(pid: Pid) -> Result<Self, ProcessError> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| ProcessError::Ended)?;
        Self::read(pid, pidfd.as_fd())
    }

    /// The service manager's unit that it runs in.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.cgroup.as_deref().and_then(unit_of_cgroup)
    }

    /// What the policy asks of it, were it to connect now: that is its effective user and group.
    #[must_use]
    pub fn peer(&self) -> Peer<'_> {
        let ([_, uid, ..], [_, gid, ..]) = (self.uids, self.gids);
        Peer {
            unit: self.unit(),
            cgroup: self.cgroup.as_deref(),
            label: self.label.as_deref(),
            ..Peer::new(uid, gid, &self.groups)
        }
    }
}

/// The path of the control group of the process `pid`, which `pidfd` names too; `None` where it cannot be told.
#[must_use]
pub fn cgroup_of(pid: Pid, pidfd: BorrowedFd<'_>) -> Option<String> {
    cgroup(pid).filter(|_| is_alive(pidfd))
}

fn cgroup(pid: Pid) -> Option<String> {
    let text = String::from_utf8(read(pid, "cgroup").ok()?).ok()?;
    parse_cgroup(&text).map(str::to_owned)
}

/// The path in a /proc/PID/cgroup, see cgroups(7): that of the service manager's own hierarchy where it has one, else that
/// of the unified hierarchy.
///
/// A hierarchy in which nothing is sorted has everybody at its top: the other one counts then. Where both name a place
/// and these differ, it is not known which of them the service manager means.
fn parse_cgroup(text: &str) -> Option<&str> {
    let of = |which: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.strip_prefix(which)?.strip_prefix(':')
        })
    };
    let path = match (of("name=systemd"), of("")) {
        (Some("/"), Some(path)) | (Some(path), Some("/")) => path,
        (Some(own), Some(unified)) if own != unified => return None,
        (Some(path), _) | (None, Some(path)) => path,
        (None, None) => return None,
    };
    // Inside a control group namespace, the kernel shows a group outside it by a relative path.
    let foreign = path.split('/').any(|component| component == "..");
    (path.starts_with('/') && !foreign).then_some(path)
}

/// The label, which some security modules end with a newline or a NUL.
fn label(pid: Pid) -> Option<String> {
    let label = String::from_utf8(read(pid, "attr/current").ok()?).ok()?;
    Some(label.trim_end_matches(['\n', '\0']).to_owned()).filter(|label| !label.is_empty())
}

/// The users, groups and supplementary groups in a /proc/PID/status, see proc_pid_status(5).
fn parse_status(status: &str) -> Option<([Uid; 4], [Gid; 4], Vec<Gid>)> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    let uids: [u32; 4] = numbers("Uid:")?.try_into().ok()?;
    let gids: [u32; 4] = numbers("Gid:")?.try_into().ok()?;
    let groups = numbers("Groups:")?.into_iter().map(Gid).collect();
    Some((uids.map(Uid), gids.map(Gid), groups))
}

fn read(pid: Pid, name: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path(pid, name))?.take(MAX_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

fn path(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{name}", pid.as_raw_nonzero()))
}

/// The program that a process executes: its path, or its name where the path is not to be seen.
#[must_use]
pub fn program_of(pid: Pid) -> Option<String> {
    let path = std::fs::read_link(path(pid, "exe"));
    path.ok().map(|path| path.to_string_lossy().into_owned()).or_else(|| name_of(pid))
}

/// The name of a process, which it can change: see /proc/PID/comm in proc(5).
#[must_use]
pub fn name_of(pid: Pid) -> Option<String> {
    let name = String::from_utf8_lossy(&read(pid, "comm").ok()?).into_owned();
    Some(name.trim_end_matches('\n').to_owned())
}

/// Whether the process has not ended. While it has not, nobody else has its number.
#[must_use]
pub fn is_alive(pidfd: BorrowedFd<'_>) -> bool {
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    let at_once = Timespec::try_from(Duration::ZERO).ok();
    loop {
        match poll(&mut ended, at_once.as_ref()) {
            Ok(found) => return found == 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Whether a process has exited, or its main thread is about to: also where one of its threads sleeps in
/// the kernel for as long as somebody likes. Then it has its number and its descriptors, and its pidfd tells
/// nothing. See the state and the flags in proc_pid_stat(5).
#[must_use]
pub fn has_exited(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    // The name before it can be anything. A process that /proc does not show us does not count as exited.
    let stat = stat.unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_whitespace();
    let is_gone = fields.next().is_some_and(|state| state.starts_with(['Z', 'X']));
    // Of the fields after the name, the flags are the seventh.
    let flags: Option<u32> = fields.nth(5).and_then(|flags| flags.parse().ok());
    is_gone || flags.is_some_and(|flags| flags & EXITING != 0)
}

/// PF_EXITING of the kernel: the thread is in exit(2), where it closes what it has open.
const EXITING: u32 = 0x4;

impl ProcessError {
    fn of(pid: Pid, name: &str, source: io::Error) -> Self {
        match source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH) => Self::Ended,
            _ => Self::Unreadable { path: path(pid, name), source },
        }
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("there is no such process, or it has ended"),
            Self::TooManyGroups => {
                write!(f, "the process is in more than {MAX_GROUPS} supplementary groups")
            }
            Self::Unreadable { path, source } => {
                write!(f, "{path} cannot be read: {source}", path = quoted(path))
            }
        }
    }
}

impl std::error::Error for ProcessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ended | Self::TooManyGroups => None,
            Self::Unreadable { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_path_from_outside_this_namespace_says_nothing() {
        for path in [
            "/../vpn.service",
            "/../../system.slice/vpn.service",
            "/system.slice/../vpn.service",
            "/vpn.service/..",
        ] {
            assert_eq!(parse_cgroup(&format!("0::{path}\n")), None, "{path}");
        }
    }

    #[test]
    fn the_service_managers_own_hierarchy_comes_before_an_unused_unified_one() {
        let old = "12:pids:/x\n1:name=systemd:/system.slice/vpn.service\n";
        assert_eq!(parse_cgroup(old), Some("/system.slice/vpn.service"));
        assert_eq!(parse_cgroup(&format!("{old}0::/\n")), Some("/system.slice/vpn.service"));
        assert_eq!(
            parse_cgroup("0::/system.slice/a:b.service\n"),
            Some("/system.slice/a:b.service")
        );
        assert_eq!(parse_cgroup("0::/\n"), Some("/"));
        assert_eq!(parse_cgroup("5:name=systemdx:/a\n4:xname=systemd:/a\n3:cpu:/a\n"), None);
        assert_eq!(parse_cgroup(""), None);
        assert_eq!(parse_cgroup("0::\n"), None);
    }

    #[test]
    fn two_hierarchies_that_differ_tell_nothing() {
        let text = |own: &str, unified: &str| format!("1:name=systemd:{own}\n0::{unified}\n");
        assert_eq!(parse_cgroup(&text("/a.service", "/b.service")), None);
        assert_eq!(parse_cgroup(&text("/", "/b.service")), Some("/b.service"), "one is not used");
        assert_eq!(parse_cgroup(&text("/a.service", "/a.service")), Some("/a.service"));
    }

    #[test]
    fn a_status_without_groups_is_no_status() {
        assert_eq!(parse_status("Uid:\t1\t2\t3\t4\nGid:\t1\t2\t3\t4\n"), None);
        assert_eq!(parse_status("Uid:\t1\t2\t3\nGid:\t1\t2\t3\t4\nGroups:\t\n"), None);
        let (uids, gids, groups) =
            parse_status("Name:\tUid:\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n")
                .unwrap();
        assert_eq!((uids, gids), ([1, 2, 3, 4].map(Uid), [5, 6, 7, 8].map(Gid)));
        assert_eq!(groups, [Gid(9), Gid(10)]);
    }

    #[test]
    fn this_process_is_read() {
        let process = Process::of(rustix::process::getpid()).unwrap();
        assert_eq!(process.uids[1], Uid(rustix::process::geteuid().as_raw()));
        assert_eq!(process.peer().gid, Gid(rustix::process::getegid().as_raw()));
        let mut groups: Vec<_> =
            nix::unistd::getgroups().unwrap().into_iter().map(|gid| Gid(gid.as_raw())).collect();
        let mut found = process.groups.clone();
        groups.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, groups);
    }

    #[test]
    fn a_process_that_has_ended_is_not_read_even_before_it_is_reaped() {
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert!(Process::read(pid, pidfd.as_fd()).is_ok());
        drop(child.stdin.take());
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        poll(&mut ended, None).unwrap();
        assert!(matches!(Process::read(pid, pidfd.as_fd()), Err(ProcessError::Ended)));
        assert_eq!(cgroup_of(pid, pidfd.as_fd()), None);
        child.wait().unwrap();
        assert!(matches!(Process::read(pid, pidfd.as_fd()), Err(ProcessError::Ended)));
        assert!(matches!(Process::of(pid), Err(ProcessError::Ended)));
    }

    #[test]
    fn a_descriptor_of_a_process_that_has_ended_does_not_vouch_for_another() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        let another = rustix::process::getpid();
        assert!(matches!(Process::read(another, pidfd.as_fd()), Err(ProcessError::Ended)));
    }
}
