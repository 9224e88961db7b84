//! The descriptor table of this process.

use std::io;

use fdbroker_wire::MAX_DESCRIPTORS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Entries for what comes and goes; in a small table they are a sixteenth.
const PASSING: i32 = 64;

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

/// Returns the number of a descriptor from which on the table is too full to read on: the kernel takes the lowest number
/// that is free. Room for the descriptors of one more message must be left; in a small table it is a quarter.
pub(crate) fn full_from() -> i32 {
    let size = size();
    below(size, (size / 4).min(MAX_DESCRIPTORS as u64))
}

/// Returns the number from which on nothing more is kept for long. Between this one and [`full_from`] there is room for
/// what comes and goes.
pub(crate) fn crowded_from() -> i32 {
    let size = size();
    full_from().saturating_sub(below(size / 16, 0).min(PASSING))
}

fn below(size: u64, reserve: u64) -> i32 {
    i32::try_from(size.saturating_sub(reserve)).unwrap_or(i32::MAX)
}

/// Enlarges the descriptor table to as many entries as the hard limit allows.
///
/// # Errors
/// As setrlimit(2).
pub(crate) fn enlarge() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}
