//! The system calls that the worker may make, each with who needs it. Whatever is not here ends it.
//!
//! `tests/tests/attacks/sandbox_calls.rs` runs the broker under strace(1) and compares both ways: a call that is made and not
//! listed fails it, and so does one that is listed and that nobody makes. To add a call: give it a line here, with who
//! needs it and as narrow a check of its arguments as that allows; have the test's workload make it. If only a fault,
//! another architecture or another C library makes it, say so in its [`Needed`].

use std::collections::BTreeMap;

use super::rule::Check::{self, Is, IsNot, Masked, Null, Oneself, Within};
use super::rule::{Rules, rule};
use crate::sandbox::SandboxError;
use crate::sys::socket::SO_INQ;

/// When a call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needed {
    /// In every worker that serves.
    Always,
    /// Only by a log that goes to the journal.
    ForTheJournal,
    /// Only in a case that a test cannot bring about, or on a system that it does not run on: in which.
    Rarely(&'static str),
}

/// A system call that the worker may make.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its name, as strace(1) shows it.
    pub name: &'static str,
    /// Who needs it.
    pub who: &'static str,
    /// When.
    pub needed: Needed,
    number: i64,
    /// Ways in which it may be called: in each, all checks hold. Without any, every way.
    ways: &'static [&'static [Check]],
}

/// All of them.
#[must_use]
pub fn calls() -> &'static [Call] {
    CALLS
}

/// A line of the list.
macro_rules! call {
    ($number:ident $name:literal, $who:literal $(, $needed:expr)?) => {
        call!($number $name, $who $(, $needed)?; &[])
    };
    ($number:ident $name:literal, $who:literal; $ways:expr) => {
        call!($number $name, $who, Needed::Always; $ways)
    };
    ($number:ident $name:literal, $who:literal, $needed:expr; $ways:expr) => {
        Call { name: $name, who: $who, needed: $needed, number: libc::$number, ways: $ways }
    };
}

use Needed::{ForTheJournal, Rarely};

/// The bits of a number that libc has as an int.
const fn bits(value: libc::c_int) -> u32 {
    u32::from_ne_bytes(value.to_ne_bytes())
}

const READ_WRITE: u32 = bits(libc::PROT_READ | libc::PROT_WRITE);
const SOCKET: u32 = bits(libc::SOL_SOCKET);
/// What makes a thread of this process and no other process, in no other namespace.
const THREAD: u32 = bits(
    libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD,
);
/// What else a C library says of its threads.
const OF_THREADS: u32 = THREAD
    | bits(
        libc::CLONE_SYSVSEM
            | libc::CLONE_SETTLS
            | libc::CLONE_PARENT_SETTID
            | libc::CLONE_CHILD_CLEARTID
            | libc::CLONE_DETACHED,
    );
/// Opening for reading; 0o100000 is O_LARGEFILE, which libc has as 0 where it means nothing.
const READING: u32 = bits(libc::O_RDONLY | libc::O_CLOEXEC | 0o100_000);
/// PIDFD_GET_INFO of any version: its size is a part of the number.
const PIDFD_GET_INFO: (u32, u32) = (0xC000_FFFF, 0xC000_FF0B);

const OTHER_LIBC: Needed = Rarely("other versions of the C library");
/// The threads that close and read end when they have been idle for ten seconds.
const A_THREAD_ENDS: Needed = Rarely("threads that have been idle for long");
const A_FAULT: Needed = Rarely("a fault of ours, which ends the worker");

#[rustfmt::skip]
const CALLS: &[Call] = &[
    // Peers and the supervisor.
    call!(SYS_accept4 "accept4", "accept"; &[&[Within(3, bits(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK))]]),
    call!(SYS_recvmsg "recvmsg", "inbox, supervision"),
    call!(SYS_sendmsg "sendmsg", "outbox, vault"),
    call!(SYS_shutdown "shutdown", "the end of a session"),
    call!(SYS_getsockopt "getsockopt", "identity, kind"),
    call!(SYS_setsockopt "setsockopt", "accept, fd/close, writer";
        &[
            &[Is(1, SOCKET), Is(2, bits(libc::SO_LINGER))],
            &[Is(1, SOCKET), Is(2, bits(libc::SO_OOBINLINE))],
            &[Is(1, SOCKET), Is(2, bits(SO_INQ))],
            &[Is(1, SOCKET), Is(2, bits(libc::SO_PASSPIDFD))],
        ]),
    call!(SYS_getsockname "getsockname", "kind: the broker's own sockets"),
    call!(SYS_getpeername "getpeername", "kind: the broker's own sockets"),
    call!(SYS_pidfd_open "pidfd_open", "identity of a writer that is not the one who connected"),
    call!(SYS_ioctl "ioctl", "session, limits/in_flight, identity, accept";
        &[
            &[Is(1, 0x541B)], // FIONREAD
            &[Is(1, 0x5411)], // TIOCOUTQ
            &[Is(1, 0x5421)], // FIONBIO, where F_SETFL could also take O_APPEND off the audit file
            &[Masked(1, PIDFD_GET_INFO.0, PIDFD_GET_INFO.1)],
        ]),
    // The event loop.
    #[cfg(target_arch = "x86_64")]
    call!(SYS_epoll_wait "epoll_wait", "the event loop"),
    call!(SYS_epoll_pwait "epoll_pwait", "the event loop", Rarely("architectures without epoll_wait")),
    call!(SYS_epoll_ctl "epoll_ctl", "the event loop"),
    call!(SYS_ppoll "ppoll", "whether a process lives, whether a socket has room"),
    call!(SYS_read "read", "files of /proc; what woke the event loop"),
    call!(SYS_write "write", "the log, the audit trail; waking the event loop"),
    call!(SYS_close "close", "everybody"),
    call!(SYS_fcntl "fcntl", "accept, kind, log, watch";
        &[
            &[Is(1, bits(libc::F_GETFL))],
            &[Is(1, bits(libc::F_GETFD))],
            &[Is(1, bits(libc::F_DUPFD_CLOEXEC))],
        ]),
    // Files.
    call!(SYS_openat "openat", "identity: /proc/PID/cgroup, status and attr/current"; &[&[Within(2, READING)]]),
    call!(SYS_fstat "fstat", "pidfs, the audit trail"),
    call!(SYS_fstatfs "fstatfs", "pidfs"),
    call!(SYS_statx "statx", "kind"),
    #[cfg(target_arch = "x86_64")]
    call!(SYS_readlink "readlink", "kind: /proc/self/fd/N"),
    call!(SYS_readlinkat "readlinkat", "kind: /proc/self/fd/N", Rarely("architectures without readlink")),
    call!(SYS_lseek "lseek", "reading files of /proc", OTHER_LIBC),
    call!(SYS_pread64 "pread64", "the audit trail: how the file ends", Rarely("an audit file that is torn")),
    // Threads: the closing of what may block, the reading of a new policy.
    call!(SYS_clone "clone", "threads"; &[&[Within(0, OF_THREADS), Masked(0, THREAD, THREAD)]]),
    call!(SYS_clone3 "clone3", "threads: refused with ENOSYS, so that the C library takes clone"),
    call!(SYS_futex "futex", "locks"),
    call!(SYS_set_robust_list "set_robust_list", "threads"),
    call!(SYS_rseq "rseq", "threads"),
    call!(SYS_sched_getaffinity "sched_getaffinity", "threads: the bounds of the stack"),
    call!(SYS_sched_yield "sched_yield", "locks", Rarely("two threads at one lock")),
    call!(SYS_gettid "gettid", "threads"),
    call!(SYS_prctl "prctl", "threads: their name"; &[&[Is(0, bits(libc::PR_SET_NAME))]]),
    call!(SYS_sigaltstack "sigaltstack", "threads: telling a stack that is full"),
    call!(SYS_rt_sigprocmask "rt_sigprocmask", "threads"),
    call!(SYS_rt_sigaction "rt_sigaction", "threads: the first one"; &[&[IsNot(0, bits(libc::SIGSYS))]]),
    call!(SYS_exit "exit", "threads", A_THREAD_ENDS),
    // Memory, never to be executed.
    call!(SYS_mmap "mmap", "memory, stacks"; &[&[Within(2, READ_WRITE)]]),
    call!(SYS_mprotect "mprotect", "memory, stacks"; &[&[Within(2, READ_WRITE)]]),
    call!(SYS_munmap "munmap", "memory, stacks"),
    call!(SYS_madvise "madvise", "memory, stacks", A_THREAD_ENDS),
    call!(SYS_mremap "mremap", "memory", Rarely("a large buffer that grows where the C library cannot extend it")),
    call!(SYS_brk "brk", "memory"),
    call!(SYS_getrandom "getrandom", "the order of hash maps"),
    // Time.
    call!(SYS_clock_gettime "clock_gettime", "the time", Rarely("machines whose clock the vDSO cannot read")),
    call!(SYS_clock_nanosleep "clock_nanosleep", "threads that wait", OTHER_LIBC),
    call!(SYS_restart_syscall "restart_syscall", "the kernel, for a call that was stopped", Rarely("SIGSTOP and SIGCONT")),
    // The end.
    call!(SYS_exit_group "exit_group", "the end of the process"),
    call!(SYS_rt_sigreturn "rt_sigreturn", "the end of a handler", A_FAULT),
    call!(SYS_getpid "getpid", "abort", A_FAULT),
    call!(SYS_tgkill "tgkill", "abort", A_FAULT; &[&[Oneself(0)]]),
    // The log.
    call!(SYS_sendto "sendto", "the log on a socket", Rarely("standard error is a socket"); &[&[Null(4)]]),
    call!(SYS_sendto "sendto", "the journal", ForTheJournal),
    call!(SYS_memfd_create "memfd_create", "the journal: an entry too long for a datagram", ForTheJournal),
];

/// The filter's rules.
///
/// # Errors
/// When the list makes no sense.
pub(super) fn rules(journal: bool) -> Result<Rules, SandboxError> {
    let mut rules = BTreeMap::new();
    for call in CALLS.iter().filter(|call| journal || call.needed != ForTheJournal) {
        let ways: Result<_, _> = call.ways.iter().map(|checks| rule(checks)).collect();
        // A later line takes the place of an earlier one.
        rules.insert(call.number, ways?);
    }
    Ok(rules)
}

/// What is answered as if the kernel did not have it: glibc and musl make their threads with clone then, whose flags a
/// filter can look at.
pub(super) fn fallbacks() -> Rules {
    BTreeMap::from([(libc::SYS_clone3, Vec::new())])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CALLS, Needed, rules};

    #[test]
    fn each_call_has_one_line_for_each_log() {
        for journal in [false, true] {
            let of_the_journal = |needed| needed == Needed::ForTheJournal;
            let lines = CALLS.iter().filter(|call| journal == of_the_journal(call.needed));
            let numbers: Vec<_> = lines.map(|call| call.number).collect();
            let different: BTreeSet<_> = numbers.iter().collect();
            assert_eq!(numbers.len(), different.len());
        }
    }

    #[test]
    fn what_starts_programs_or_reaches_others_is_on_no_list() {
        let allowed = rules(true).unwrap();
        let never = [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_kill,
            libc::SYS_ptrace,
            libc::SYS_openat2,
            libc::SYS_unshare,
        ];
        for call in never {
            assert!(!allowed.contains_key(&call), "{call}");
        }
    }
}
