//! What a supervisor that was taken over can do no more: this program confines itself as the supervisor does, in a
//! process of its own for each attempt, and tries.

use std::io;
use std::process::Command;

use fdbroker_tests::{is_root, skip};

const ATTEMPT: &str = "FDBROKER_TEST_ATTEMPT_OF_SUPERVISOR";
const FREELY: &str = "FDBROKER_TEST_WITHOUT_FILTER";
/// The test that makes an attempt.
const ITSELF: &str = "supervisor_calls::attempt_in_a_process_of_its_own";
/// The number of no error.
const NOTHING: i32 = 0;

/// A system call with these numbers for arguments. None of them does anything where it is not refused.
struct Attempt {
    name: &'static str,
    call: libc::c_long,
    arguments: [libc::c_long; 3],
}

const fn attempt(name: &'static str, call: libc::c_long, arguments: [libc::c_long; 3]) -> Attempt {
    Attempt { name, call, arguments }
}

const NO_FD: libc::c_long = -1;
const NO_PID: libc::c_long = libc::c_int::MAX as libc::c_long;

/// __X32_SYSCALL_BIT; on other processors no system call has such a number either.
const X32: libc::c_long = 0x4000_0000;

/// What is answered EPERM. What would change this machine is not among them.
#[rustfmt::skip]
const REFUSED: &[Attempt] = &[
    attempt("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH as libc::c_long, NO_PID, 0]),
    attempt("process_vm_readv", libc::SYS_process_vm_readv, [NO_PID, 0, 0]),
    attempt("process_vm_writev", libc::SYS_process_vm_writev, [NO_PID, 0, 0]),
    attempt("pidfd_getfd", libc::SYS_pidfd_getfd, [NO_FD, 0, 0]),
    attempt("kcmp of others", libc::SYS_kcmp, [NO_PID, NO_PID, 0]),
    attempt("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0]),
    attempt("mount", libc::SYS_mount, [0, 0, 0]),
    attempt("umount2", libc::SYS_umount2, [0, 0, 0]),
    attempt("chroot", libc::SYS_chroot, [0, 0, 0]),
    attempt("fsopen", libc::SYS_fsopen, [0, 0, 0]),
    attempt("setns", libc::SYS_setns, [NO_FD, 0, 0]),
    attempt("open_by_handle_at", libc::SYS_open_by_handle_at, [NO_FD, 0, 0]),
    attempt("bpf", libc::SYS_bpf, [-1, 0, 0]),
    attempt("finit_module", libc::SYS_finit_module, [NO_FD, 0, 0]),
    attempt("kexec_load", libc::SYS_kexec_load, [0, 17, 0]),
    attempt("reboot", libc::SYS_reboot, [0, 0, 0]),
    attempt("swapon", libc::SYS_swapon, [0, 0, 0]),
    attempt("syslog", libc::SYS_syslog, [-1, 0, 0]),
    attempt("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0]),
    attempt("keyctl", libc::SYS_keyctl, [-1, 0, 0]),
    attempt("personality", libc::SYS_personality, [0xFFFF_FFFF, 0, 0]),
    attempt("clock_settime", libc::SYS_clock_settime, [0, 0, 0]),
    // Without the filter it is ENOSYS, or succeeds where the kernel has this numbering.
    attempt("getpid of x32", libc::SYS_getpid | X32, [0, 0, 0]),
    attempt("move_pages", libc::SYS_move_pages, [NO_PID, 0, 0]),
    attempt("a new user namespace", libc::SYS_unshare, [libc::CLONE_NEWUSER as libc::c_long, 0, 0]),
    attempt("a new mount namespace", libc::SYS_unshare, [libc::CLONE_NEWNS as libc::c_long, 0, 0]),
];

/// What the supervisor needs, or the modules that look names up.
#[rustfmt::skip]
const ALLOWED: &[Attempt] = &[
    attempt("a descriptor table of its own", libc::SYS_unshare, [libc::CLONE_FILES as libc::c_long, 0, 0]),
    attempt("a socket", libc::SYS_socket, [libc::AF_UNIX as libc::c_long, libc::SOCK_STREAM as libc::c_long, 0]),
    attempt("a name in memory", libc::SYS_memfd_create, [EMPTY, 0, 0]),
    attempt("its own user", libc::SYS_getuid, [0, 0, 0]),
];

/// Stands for an empty text in [`Attempt::arguments`].
const EMPTY: libc::c_long = -7_777;

/// Does what this process was started for, if it was: confines itself, tries, and tells by its exit status the error
/// number of what was refused.
#[test]
fn attempt_in_a_process_of_its_own() {
    let Ok(name) = std::env::var(ATTEMPT) else { return };
    if std::env::var_os(FREELY).is_none() {
        let confinement = fdbrokerd::sandbox::confine_supervisor().expect("the filter compiles");
        assert!(confinement.missing().is_empty(), "missing: {:?}", confinement.missing());
    }
    if name == "a program" {
        let status = Command::new("/bin/true").status();
        std::process::exit(status.map_or(255, |status| status.code().unwrap_or(254)));
    }
    let attempt = REFUSED.iter().chain(ALLOWED).find(|attempt| attempt.name == name);
    let attempt = attempt.expect("an attempt of this name");
    let text = c"".as_ptr() as libc::c_long;
    let [a, b, c] =
        attempt.arguments.map(|argument| if argument == EMPTY { text } else { argument });
    // SAFETY: the pointers are null or name a text that lives as long as the program.
    let result = unsafe { libc::syscall(attempt.call, a, b, c, 0, 0, 0) };
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(255);
    std::process::exit(if result < 0 { errno } else { NOTHING });
}

/// How an attempt ended, with the filter or without; `None` if the process could not be confined.
fn ended(name: &str, freely: bool) -> Option<i32> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", ITSELF, "--nocapture", "--test-threads=1"]).env(ATTEMPT, name);
    if freely {
        command.env(FREELY, "1");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.contains("missing: ") {
        skip("the supervisor's filter", &said);
        return None;
    }
    Some(output.status.code().unwrap_or_else(|| panic!("{name}: {output:?}")))
}

#[test]
fn what_opens_nothing_is_refused_to_the_supervisor() {
    for attempt in REFUSED {
        let Some(errno) = ended(attempt.name, false) else { return };
        assert_eq!(errno, libc::EPERM, "{}", attempt.name);
        // To root nearly all of it is something else without the filter: a namespace is made, a process is not found.
        if is_root() && ended(attempt.name, true) == Some(libc::EPERM) {
            skip(attempt.name, "this system refuses it to root without the filter too");
        }
    }
}

#[test]
fn what_the_supervisor_needs_is_left_to_it() {
    for attempt in ALLOWED {
        let Some(errno) = ended(attempt.name, false) else { return };
        assert_eq!(errno, NOTHING, "{}", attempt.name);
    }
    assert_eq!(ended("a program", false), Some(0));
}
