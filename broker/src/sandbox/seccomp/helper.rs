//! The system calls that a helper may make, each with who needs it. Whatever is not here is refused with EPERM.
//!
//! It does not end the process: names are looked up by modules of the C library (nsswitch.conf(5)), and one that
//! asks for more than it gets reports an error.

use std::collections::BTreeMap;

use super::rule::Check::{self, Is, Null, Oneself, Within};
use super::rule::{Rules, rule};
use crate::sandbox::SandboxError;

/// A call, who needs it, and the ways in which it may be called: in each, all checks hold. Without any, every way.
type Call = (i64, &'static str, &'static [&'static [Check]]);

/// The bits of a number that libc has as an int.
const fn bits(value: libc::c_int) -> u32 {
    u32::from_ne_bytes(value.to_ne_bytes())
}

const READ_WRITE: u32 = bits(libc::PROT_READ | libc::PROT_WRITE);
const READ_EXECUTE: u32 = bits(libc::PROT_READ | libc::PROT_EXEC);
/// Memory is written or executed, never both.
const MEMORY: &[&[Check]] = &[&[Within(2, READ_WRITE)], &[Within(2, READ_EXECUTE)]];
/// Opening for reading; 0o100000 is O_LARGEFILE, which libc has as 0 where it means nothing.
const READING: u32 = bits(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | 0o100_000);
const SOCKETS: &[&[Check]] = &[
    &[Is(0, bits(libc::AF_UNIX))],
    &[Is(0, bits(libc::AF_INET))],
    &[Is(0, bits(libc::AF_INET6))],
    // Which addresses this machine has: the C library sorts a server's by that.
    &[Is(0, bits(libc::AF_NETLINK)), Is(2, bits(libc::NETLINK_ROUTE))],
];

#[rustfmt::skip]
const CALLS: &[Call] = &[
    // Connecting, logging in, and handing the socket over.
    (libc::SYS_socket, "connecting; name look-up", SOCKETS),
    (libc::SYS_connect, "connecting; name look-up", &[]),
    (libc::SYS_bind, "`source`; name look-up: netlink", &[]),
    (libc::SYS_getsockopt, "connecting", &[]),
    (libc::SYS_setsockopt, "connecting; name look-up", &[]),
    (libc::SYS_getsockname, "the log-in: whether the server is local; name look-up", &[]),
    (libc::SYS_getpeername, "name look-up", &[]),
    (libc::SYS_sendto, "the log-in; name look-up", &[]),
    (libc::SYS_recvfrom, "the log-in; name look-up", &[]),
    (libc::SYS_sendmsg, "the answer; name look-up", &[]),
    (libc::SYS_recvmsg, "name look-up: netlink, systemd-resolved", &[]),
    (libc::SYS_sendmmsg, "name look-up: two questions at once", &[]),
    (libc::SYS_socketpair, "a relay: the caller's end", &[&[Is(0, bits(libc::AF_UNIX))]]),
    (libc::SYS_shutdown, "a relay: the end of one direction", &[]),
    (libc::SYS_ppoll, "waiting", &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, "name look-up", &[]),
    (libc::SYS_fcntl, "the socket is handed over blocking", &[]),
    (libc::SYS_ioctl, "name look-up: how much is unread", &[&[Is(1, 0x541B)]]),
    (libc::SYS_read, "name look-up: files", &[]),
    (libc::SYS_pread64, "the credential; name look-up: modules", &[]),
    (libc::SYS_write, "standard error", &[]),
    (libc::SYS_close, "everybody", &[]),
    // Name look-up: files and modules.
    (libc::SYS_openat, "name look-up", &[&[Within(2, READING)]]),
    (libc::SYS_fstat, "name look-up", &[]),
    (libc::SYS_newfstatat, "name look-up", &[]),
    (libc::SYS_statx, "name look-up", &[]),
    (libc::SYS_faccessat, "name look-up", &[]),
    (libc::SYS_faccessat2, "name look-up", &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_access, "name look-up", &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_stat, "name look-up", &[]),
    (libc::SYS_readlinkat, "name look-up", &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, "name look-up", &[]),
    (libc::SYS_lseek, "name look-up", &[]),
    (libc::SYS_uname, "name look-up: the machine's name", &[]),
    (libc::SYS_getuid, "name look-up", &[]),
    (libc::SYS_geteuid, "name look-up", &[]),
    (libc::SYS_getgid, "name look-up", &[]),
    (libc::SYS_getegid, "name look-up", &[]),
    (libc::SYS_getpid, "name look-up: netlink; abort", &[]),
    (libc::SYS_gettid, "name look-up; abort", &[]),
    (libc::SYS_prlimit64, "name look-up: limits are read", &[&[Null(2)]]),
    // Memory.
    (libc::SYS_mmap, "memory; name look-up: modules", MEMORY),
    (libc::SYS_mprotect, "memory; name look-up: modules", MEMORY),
    (libc::SYS_munmap, "memory", &[]),
    (libc::SYS_madvise, "memory", &[]),
    (libc::SYS_mremap, "memory", &[]),
    (libc::SYS_brk, "memory", &[]),
    (libc::SYS_futex, "locks", &[]),
    (libc::SYS_getrandom, "nonces; name look-up", &[]),
    // Time and signals.
    (libc::SYS_clock_gettime, "the time", &[]),
    (libc::SYS_gettimeofday, "the time", &[]),
    (libc::SYS_clock_nanosleep, "name look-up: trying again", &[]),
    (libc::SYS_restart_syscall, "the kernel, for a call that was stopped", &[]),
    (libc::SYS_rt_sigprocmask, "name look-up; abort", &[]),
    (libc::SYS_rt_sigaction, "abort; a relay: its time is not limited", &[]),
    (libc::SYS_rt_sigreturn, "the end of a handler", &[]),
    (libc::SYS_sigaltstack, "the end of the process", &[]),
    (libc::SYS_tgkill, "abort", &[&[Oneself(0)]]),
    (libc::SYS_exit_group, "the end of the process", &[]),
];

/// The filter's rules.
///
/// # Errors
/// When the list makes no sense.
pub(super) fn rules() -> Result<Rules, SandboxError> {
    let mut rules = BTreeMap::new();
    for (number, _, ways) in CALLS {
        let ways: Result<_, _> = ways.iter().map(|checks| rule(checks)).collect();
        rules.insert(*number, ways?);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::{CALLS, rules};

    #[test]
    fn each_call_has_one_line_and_says_who_needs_it() {
        assert_eq!(rules().unwrap().len(), CALLS.len());
        assert!(CALLS.iter().all(|(_, who, _)| !who.is_empty()));
    }

    #[test]
    fn what_starts_processes_or_reaches_others_is_not_listed() {
        let allowed = rules().unwrap();
        let never = [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_kill,
            libc::SYS_ptrace,
            libc::SYS_openat2,
            libc::SYS_unshare,
            libc::SYS_listen,
            libc::SYS_accept4,
            libc::SYS_memfd_create,
        ];
        for call in never {
            assert!(!allowed.contains_key(&call), "{call}");
        }
    }
}
