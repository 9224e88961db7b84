//! The worker's Landlock domain, see landlock(7): of all files it may read those below /proc, nothing else; no TCP port,
//! no abstract socket, no signal to another process.
//!
//! What it holds a descriptor of is not concerned: a domain judges paths, ports and processes.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::sys::landlock::{Handled, allow_beneath, restrict, ruleset, version};

/// LANDLOCK_ACCESS_FS_READ_FILE.
const READ_FILE: u64 = 1 << 2;
/// LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP.
const TCP: u64 = 0b11;
/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and SIGNAL.
const SCOPES: u64 = 0b11;

/// How many rights to files each version knows, from the first on: each is a bit.
const FILE_RIGHTS: [u32; 5] = [13, 14, 15, 15, 16];

/// Confines the calling thread and those that it starts. Returns what is in force, or why nothing is.
pub(super) fn read_only_proc() -> Result<String, String> {
    let missing = |error: std::io::Error| {
        format!(
            "the worker runs without Landlock ({error}): it takes Linux 5.13 or later, with \
             Landlock enabled"
        )
    };
    let version = version().map_err(missing)?;
    let rules = ruleset(handled(version)).map_err(missing)?;
    // Where there is no /proc, nothing at all may be read.
    let proc =
        openat(CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    if let Ok(proc) = proc {
        allow_beneath(&rules, proc.as_fd(), READ_FILE).map_err(missing)?;
    }
    restrict(&rules).map_err(missing)?;
    Ok(format!("Landlock (version {version})"))
}

/// Everything that a kernel of this version can refuse.
fn handled(version: u32) -> Handled {
    let known = usize::try_from(version).unwrap_or(usize::MAX).clamp(1, FILE_RIGHTS.len());
    Handled {
        files: (1 << FILE_RIGHTS[known - 1]) - 1,
        network: if version >= 4 { TCP } else { 0 },
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
