//! Whom a broker may run as, and whether its user can be told at all.
//!
//! In a user namespace, every user without a number there looks like the kernel's overflow user (65534): the system's
//! broker, one's own, and a stranger's. So that number proves nothing, unless each user has a number.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::process::geteuid;

/// Whom a broker may run as: the user that called listen(2) on its socket, which is what
/// SO_PEERCRED tells a client, see unix(7).
///
/// In a user namespace, the overflow user (65534) stands for every user that has no number there. A broker that
/// shows as that one is trusted by [`Trust::Anyone`] alone: not even by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// Root, or the effective user of this process.
    #[default]
    RootOrSelf,
    /// This user id alone.
    Uid(u32),
    /// Any user. Descriptors from a broker like that may be anything.
    Anyone,
}

/// Why a broker is not trusted.
#[derive(Debug)]
pub(crate) enum Distrust {
    /// It runs as this user.
    Stranger(u32),
    /// It runs as somebody who has no number here.
    Unidentified(u32),
    /// The kernel does not say as whom it runs.
    Unknown(io::Error),
}

impl Trust {
    /// Checks whom the broker at the other end runs as. Not by rustix: its credentials are undefined for a peer of
    /// another pid namespace.
    pub(crate) fn check(self, socket: impl AsFd) -> Result<(), Distrust> {
        let trusted = match self {
            Self::Anyone => return Ok(()),
            Self::Uid(uid) => [uid, uid],
            Self::RootOrSelf => [0, geteuid().as_raw()],
        };
        let credentials = getsockopt(&socket.as_fd(), PeerCredentials);
        let uid = credentials.map_err(|errno| Distrust::Unknown(errno.into()))?.uid();
        match trusted.contains(&uid) {
            // Root has a number wherever this is looked at, and its brokers are most of them.
            true if uid == 0 => Ok(()),
            _ if is_ambiguous(uid) => Err(Distrust::Unidentified(uid)),
            true => Ok(()),
            false => Err(Distrust::Stranger(uid)),
        }
    }
}

/// What `/proc/sys/kernel/overflowuid` says where nobody has changed it.
const OVERFLOW: u32 = 65534;
/// How many user ids there are.
const ALL: u64 = u32::MAX as u64;

/// Whether this number may stand for any user without a number in our user namespace. Where that cannot be found out,
/// it may.
fn is_ambiguous(uid: u32) -> bool {
    let overflow = fs::read_to_string("/proc/sys/kernel/overflowuid");
    let overflow = overflow.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW);
    if uid != overflow {
        return false;
    }
    match fs::read_to_string("/proc/self/uid_map") {
        Ok(map) => !is_total(&map),
        // A kernel without user namespaces has no such file, while it has the others.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            !Path::new("/proc/self/stat").exists()
        }
        Err(_) => true,
    }
}

/// Whether each user outside has a number inside, by a map as user_namespaces(7) has it.
fn is_total(map: &str) -> bool {
    let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    counts.sum::<u64>() >= ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_map_of_all_users_is_total() {
        assert!(is_total("         0          0 4294967295\n"));
        assert!(is_total("0 1 4294967294\n4294967294 0 1\n"));
        for map in ["", "0 1000 1\n", "0 100000 65536\n", "1 1 4294967294\n", "0 0 many\n"] {
            assert!(!is_total(map), "{map}");
        }
    }
}
