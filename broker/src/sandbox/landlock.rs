//! Landlock domains, see landlock(7). In each: no abstract socket, no signal to another process.
//!
//! - The worker may read what is below /proc, and no other file. It may use no TCP port.
//! - A helper may read what the look-up of a name takes, and no other file. It may connect to the TCP ports of
//!   its servers.
//! - A program of the operator's may read and execute what its user may, and write no file. It may use no TCP port.
//!
//! What it holds a descriptor of is not concerned: a domain judges paths, ports and processes.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::sys::landlock::{Handled, allow_beneath, allow_port, restrict, ruleset, version};

/// LANDLOCK_ACCESS_FS_EXECUTE, WRITE_FILE, READ_FILE and READ_DIR.
const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIRECTORY: u64 = 1 << 3;
/// LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP.
const BIND: u64 = 0b01;
const CONNECT: u64 = 0b10;
const TCP: u64 = BIND | CONNECT;
/// From which version on TCP ports are handled.
const WITH_TCP: u32 = 4;
/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and SIGNAL.
const SCOPES: u64 = 0b11;

/// How many rights to files each version knows, from the first on: each is a bit.
const FILE_RIGHTS: [u32; 5] = [13, 14, 15, 15, 16];

/// Where the C library and its modules find what the look-up of a name takes: nsswitch.conf(5), resolv.conf(5)
/// and what it may link to, hosts(5), and the modules.
const FOR_NAMES: [&str; 9] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
];
/// The port of name servers, for answers that are too long for a datagram.
const DOMAIN: u16 = 53;

/// Confines the calling thread and those that it starts. Returns what is in force, or why nothing is.
pub(super) fn read_only_proc() -> Result<String, String> {
    restricted(&[("/proc", READ_FILE)], &[], &[]).map_err(|error| {
        format!(
            "the worker runs without Landlock ({error}): it takes Linux 5.13 or later, with \
             Landlock enabled"
        )
    })
}

/// Confines a helper, which connects to these TCP ports.
///
/// # Errors
/// As landlock(7), where the kernel has it.
pub(super) fn look_up_and_connect(ports: &[u16]) -> io::Result<()> {
    let ports = [ports, &[DOMAIN]].concat();
    where_there_is_any(restricted(&FOR_NAMES.map(|path| (path, READ_FILE)), &ports, &[ANY]))
}

/// Confines a program of the operator's.
///
/// # Errors
/// As landlock(7), where the kernel has it.
pub(super) fn read_and_execute() -> io::Result<()> {
    // What scripts write to when nobody is to read it.
    let nowhere = ("/dev/null", READ_FILE | WRITE_FILE);
    let files = [("/", READ_FILE | READ_DIRECTORY | EXECUTE), nowhere];
    where_there_is_any(restricted(&files, &[], &[]))
}

fn where_there_is_any(result: io::Result<String>) -> io::Result<()> {
    match result {
        Err(error) if is_missing(&error) => Ok(()),
        result => result.map(drop),
    }
}

/// The port that stands for any free one.
const ANY: u16 = 0;

fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Lets nothing be done but this to these files and what is below these directories, connecting to these ports and
/// binding to those.
fn restricted(files: &[(&str, u64)], connects: &[u16], binds: &[u16]) -> io::Result<String> {
    let version = version()?;
    let rules = ruleset(handled(version))?;
    for (path, allowed) in files {
        // What is not there cannot be read.
        if let Ok(file) = openat(CWD, *path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            allow_beneath(&rules, file.as_fd(), *allowed)?;
        }
    }
    let ports = connects.iter().map(|port| (*port, CONNECT));
    for (port, allowed) in ports.chain(binds.iter().map(|port| (*port, BIND))) {
        if version >= WITH_TCP {
            allow_port(&rules, port, allowed)?;
        }
    }
    restrict(&rules)?;
    Ok(format!("Landlock (version {version})"))
}

/// Everything that a kernel of this version can refuse.
fn handled(version: u32) -> Handled {
    let known = usize::try_from(version).unwrap_or(usize::MAX).clamp(1, FILE_RIGHTS.len());
    Handled {
        files: (1 << FILE_RIGHTS[known - 1]) - 1,
        network: if version >= WITH_TCP { TCP } else { 0 },
        scoped: if version >= 6 { SCOPES } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::handled;

    #[test]
    fn each_version_handles_what_it_knows_and_no_more() {
        let of = |version| {
            let handled = handled(version);
            (handled.files, handled.network, handled.scoped)
        };
        assert_eq!(of(1), (0x1fff, 0, 0));
        assert_eq!(of(3), (0x7fff, 0, 0));
        assert_eq!(of(4), (0x7fff, 3, 0));
        assert_eq!(of(6), (0xffff, 3, 3));
        assert_eq!(of(99), of(6));
    }
}
