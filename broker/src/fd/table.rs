//! The descriptor table of this process.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many entries it has: RLIMIT_NOFILE, see getrlimit(2).
pub(crate) fn size() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many entries it may have: the hard limit.
pub(crate) fn most() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// One of so many parts of it, in entries; a few even of the smallest.
pub(crate) fn part(parts: u64) -> usize {
    usize::try_from(size() / parts).unwrap_or(usize::MAX).max(4)
}

/// Enlarges the descriptor table to as many entries as the hard limit allows.
///
/// # Errors
/// As setrlimit(2).
pub(crate) fn enlarge() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
