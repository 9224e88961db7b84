//! The system calls that a program of the operator's loses beside those of the supervisor. What else it needs nobody
//! knows: it may be a shell or an interpreter. It is answered EPERM.
//!
//! No process leaves the group in which the program begins, so that all that it has started is ended with it.

use std::collections::BTreeMap;

use super::rule::Check::{self, Is, IsNot, Masked};
use super::rule::{Rules, rule};
use crate::sandbox::SandboxError;

/// A call, and the ways in which it is refused: in each, all checks hold. Without any, every way.
type Call = (i64, &'static [&'static [Check]]);

/// The bits of a number that libc has as an int.
const fn bits(value: libc::c_int) -> u32 {
    u32::from_ne_bytes(value.to_ne_bytes())
}

/// A flag that is set.
const fn set(flag: libc::c_int) -> Check {
    Masked(0, bits(flag), bits(flag))
}

const CALLS: &[Call] = &[
    // Leaving the group.
    (libc::SYS_setsid, &[]),
    (libc::SYS_setpgid, &[]),
    // Every process of this user, the worker too. Landlock scopes the others from Linux 6.12 on.
    (libc::SYS_kill, &[&[Is(0, bits(-1))]]),
    // Namespaces, in which it would have privileges. unshare(2) is the supervisor's to lose.
    (
        libc::SYS_clone,
        &[
            // A child of the supervisor's, which would not know it.
            &[set(libc::CLONE_PARENT)],
            &[set(libc::CLONE_NEWUSER)],
            &[set(libc::CLONE_NEWNS)],
            &[set(libc::CLONE_NEWPID)],
            &[set(libc::CLONE_NEWNET)],
            &[set(libc::CLONE_NEWIPC)],
            &[set(libc::CLONE_NEWUTS)],
            &[set(libc::CLONE_NEWCGROUP)],
        ],
    ),
    // Other kinds of sockets than those of a helper.
    (
        libc::SYS_socket,
        &[&[
            IsNot(0, bits(libc::AF_UNIX)),
            IsNot(0, bits(libc::AF_INET)),
            IsNot(0, bits(libc::AF_INET6)),
            IsNot(0, bits(libc::AF_NETLINK)),
        ]],
    ),
];

/// The filter's rules.
///
/// # Errors
/// When the list makes no sense.
pub(super) fn refused() -> Result<Rules, SandboxError> {
    let mut rules = BTreeMap::new();
    for (number, ways) in CALLS {
        let ways: Result<_, _> = ways.iter().map(|checks| rule(checks)).collect();
        rules.insert(*number, ways?);
    }
    Ok(rules)
}
