//! What a worker that was taken over can do: this program confines itself as the worker does, in a process of its own
//! for each attempt, and tries.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use fdbroker_tests::process::is_in_memory;
use fdbroker_tests::{HelperProcess, WORKER, skip, wait_until};

const ATTEMPT: &str = "FDBROKER_TEST_ATTEMPT";
/// The test that makes an attempt.
const ITSELF: &str = "sandbox::attempt_in_a_process_of_its_own";
const SIGSYS: i32 = libc::SIGSYS;

/// What an attempt is: a system call with numbers for arguments, or a pointer where a text is wanted.
struct Attempt {
    name: &'static str,
    call: libc::c_long,
    arguments: [libc::c_long; 5],
}

const fn attempt(name: &'static str, call: libc::c_long, arguments: [libc::c_long; 5]) -> Attempt {
    Attempt { name, call, arguments }
}

/// Stands for a path in [`Attempt::arguments`].
const PATH: libc::c_long = -7_777;
const HERE: libc::c_long = libc::AT_FDCWD as libc::c_long;
const INIT: libc::c_long = 1;

/// What ends the worker.
#[rustfmt::skip]
const DEADLY: &[Attempt] = &[
    attempt("open for writing", libc::SYS_openat, [HERE, PATH, (libc::O_WRONLY | libc::O_CLOEXEC) as libc::c_long, 0, 0]),
    attempt("create a file", libc::SYS_openat, [HERE, PATH, (libc::O_CREAT | libc::O_CLOEXEC) as libc::c_long, 0o600, 0]),
    attempt("openat2", libc::SYS_openat2, [HERE, PATH, 0, 24, 0]),
    attempt("execve", libc::SYS_execve, [PATH, 0, 0, 0, 0]),
    attempt("execveat", libc::SYS_execveat, [HERE, PATH, 0, 0, 0]),
    attempt("fork by clone", libc::SYS_clone, [libc::SIGCHLD as libc::c_long, 0, 0, 0, 0]),
    attempt("a new user namespace by clone", libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::SIGCHLD) as libc::c_long, 0, 0, 0, 0]),
    attempt("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER as libc::c_long, 0, 0, 0, 0]),
    attempt("setns", libc::SYS_setns, [0, 0, 0, 0, 0]),
    attempt("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH as libc::c_long, INIT, 0, 0, 0]),
    attempt("process_vm_readv", libc::SYS_process_vm_readv, [INIT, 0, 0, 0, 0]),
    attempt("pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0, 0, 0]),
    attempt("pidfd_send_signal", libc::SYS_pidfd_send_signal, [0, 0, 0, 0, 0]),
    attempt("a TCP socket", libc::SYS_socket, [libc::AF_INET as libc::c_long, libc::SOCK_STREAM as libc::c_long, 0, 0, 0]),
    attempt("a Unix socket", libc::SYS_socket, [libc::AF_UNIX as libc::c_long, libc::SOCK_STREAM as libc::c_long, 0, 0, 0]),
    attempt("a netlink socket", libc::SYS_socket, [libc::AF_NETLINK as libc::c_long, libc::SOCK_RAW as libc::c_long, 0, 0, 0]),
    attempt("socketpair", libc::SYS_socketpair, [libc::AF_UNIX as libc::c_long, libc::SOCK_STREAM as libc::c_long, 0, 0, 0]),
    attempt("connect", libc::SYS_connect, [0, 0, 0, 0, 0]),
    attempt("bind", libc::SYS_bind, [0, 0, 0, 0, 0]),
    attempt("listen", libc::SYS_listen, [0, 0, 0, 0, 0]),
    attempt("a datagram to an address", libc::SYS_sendto, [0, 0, 0, 0, PATH]),
    attempt("switch credentials of a socket off", libc::SYS_setsockopt, [0, libc::SOL_SOCKET as libc::c_long, libc::SO_PASSCRED as libc::c_long, 0, 0]),
    attempt("kill another", libc::SYS_kill, [INIT, 0, 0, 0, 0]),
    attempt("kill oneself", libc::SYS_kill, [0, 0, 0, 0, 0]),
    attempt("kill a thread of another", libc::SYS_tgkill, [INIT, INIT, 0, 0, 0]),
    attempt("setuid", libc::SYS_setuid, [0, 0, 0, 0, 0]),
    attempt("setresuid", libc::SYS_setresuid, [0, 0, 0, 0, 0]),
    attempt("setresgid", libc::SYS_setresgid, [0, 0, 0, 0, 0]),
    attempt("setgroups", libc::SYS_setgroups, [0, 0, 0, 0, 0]),
    attempt("capset", libc::SYS_capset, [0, 0, 0, 0, 0]),
    attempt("be dumpable", libc::SYS_prctl, [libc::PR_SET_DUMPABLE as libc::c_long, 1, 0, 0, 0]),
    attempt("another filter", libc::SYS_seccomp, [1, 0, 0, 0, 0]),
    attempt("mount", libc::SYS_mount, [PATH, PATH, 0, 0, 0]),
    attempt("pivot_root", libc::SYS_pivot_root, [PATH, PATH, 0, 0, 0]),
    attempt("chroot", libc::SYS_chroot, [PATH, 0, 0, 0, 0]),
    attempt("bpf", libc::SYS_bpf, [0, 0, 0, 0, 0]),
    attempt("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0, 0, 0]),
    attempt("io_uring", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
    attempt("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0, 0, 0]),
    attempt("memfd_create", libc::SYS_memfd_create, [PATH, 0, 0, 0, 0]),
    attempt("keyctl", libc::SYS_keyctl, [0, 0, 0, 0, 0]),
    attempt("splice", libc::SYS_splice, [0, 0, 0, 0, 0]),
    attempt("memory that can be executed", libc::SYS_mmap, [0, 4096, (libc::PROT_READ | libc::PROT_EXEC) as libc::c_long, (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as libc::c_long, -1]),
    attempt("make memory executable", libc::SYS_mprotect, [0, 0, libc::PROT_EXEC as libc::c_long, 0, 0]),
    attempt("SIGIO to others", libc::SYS_fcntl, [0, libc::F_SETOWN as libc::c_long, INIT, 0, 0]),
    attempt("change what is in the audit file", libc::SYS_fcntl, [0, libc::F_SETFL as libc::c_long, 0, 0, 0]),
    attempt("a terminal's input", libc::SYS_ioctl, [0, libc::TIOCSTI as libc::c_long, 0, 0, 0]),
    attempt("live on after a refusal", libc::SYS_rt_sigaction, [SIGSYS as libc::c_long, 0, 0, 8, 0]),
    attempt("delete a file", libc::SYS_unlinkat, [HERE, PATH, 0, 0, 0]),
    attempt("raise a limit", libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as libc::c_long, 0, 0, 0]),
];

/// Does what this process was started for, if it was: confines itself, tries, and tells by its exit status the error
/// number of what was refused.
#[test]
fn attempt_in_a_process_of_its_own() {
    let Ok(name) = std::env::var(ATTEMPT) else { return };
    let confinement =
        fdbrokerd::sandbox::confine_worker(false).expect("the worker's filter compiles");
    assert!(confinement.missing().is_empty(), "missing: {:?}", confinement.missing());
    if let Some(attempt) = DEADLY.iter().find(|attempt| attempt.name == name) {
        let path = c"/etc/passwd".as_ptr() as libc::c_long;
        let [a, b, c, d, e] =
            attempt.arguments.map(|argument| if argument == PATH { path } else { argument });
        // SAFETY: what would have the kernel touch memory is refused before it looks at the arguments; where it is not,
        // the pointers are null or name a text that lives as long as the program.
        let result = unsafe { libc::syscall(attempt.call, a, b, c, d, e) };
        std::process::exit(if result < 0 { errno() } else { 0 });
    }
    std::process::exit(match name.as_str() {
        "read /etc/passwd" => opened("/etc/passwd"),
        "read a device" => opened("/dev/zero"),
        "list /" => std::fs::read_dir("/").map_or_else(number, |_| 0),
        "read /proc" => opened("/proc/self/cgroup"),
        "clone3" => {
            // SAFETY: with a size of 0 the kernel reads nothing.
            unsafe { libc::syscall(libc::SYS_clone3, 0, 0) };
            errno()
        }
        "threads" => std::thread::spawn(|| 41).join().map_or(1, |answer| answer + 1),
        other => panic!("no attempt {other:?}"),
    });
}

fn opened(path: &str) -> i32 {
    std::fs::File::open(path).map_or_else(number, |_| 0)
}

fn errno() -> i32 {
    number(io::Error::last_os_error())
}

fn number(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(255)
}

fn run(name: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", ITSELF, "--nocapture", "--test-threads=1"]);
    command.env(ATTEMPT, name).output().unwrap()
}

/// How an attempt ended.
fn status(name: &str) -> ExitStatus {
    run(name).status
}

/// Whether this machine can confine at all.
fn confines() -> bool {
    let output = run("read /proc");
    let can = output.status.code() == Some(0);
    if !can {
        skip("the worker's sandbox", &String::from_utf8_lossy(&output.stdout));
    }
    can
}

#[test]
fn what_the_worker_does_not_need_ends_it_and_is_named() {
    if !confines() {
        return;
    }
    for attempt in DEADLY {
        let output = run(attempt.name);
        assert_eq!(output.status.signal(), Some(SIGSYS), "{}: {output:?}", attempt.name);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = format!("refused call number {};", attempt.call);
        assert!(said.contains(&expected), "{}: {said}", attempt.name);
    }
}

#[test]
fn of_all_files_the_worker_reads_those_of_proc_alone() {
    if !confines() {
        return;
    }
    for name in ["read /etc/passwd", "read a device", "list /"] {
        let ended = status(name);
        let refused = [ended.code() == Some(libc::EACCES), ended.signal() == Some(SIGSYS)];
        assert!(refused.contains(&true), "{name}: {ended}");
    }
}

#[test]
fn nobody_but_root_looks_into_the_two_processes() {
    if !fdbroker_tests::needs_root("looking into the broker as its user") {
        return;
    }
    let daemon = fdbroker_tests::Daemon::open().start();
    for pid in [daemon.supervisor_pid(), daemon.worker_pid()] {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        // The files of a process that is not dumpable are root's, whatever user it runs as.
        let memory = std::fs::metadata(format!("/proc/{pid}/mem")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&memory), 0);
    }
    let worker = HelperProcess::user(WORKER);
    let memory = format!("/proc/{}/maps", daemon.worker_pid());
    assert!(worker.open(Path::new(&memory), false).is_err(), "its own user reads {memory}");
}

/// Made of parts, so that the text of this program is not found.
fn secret() -> String {
    ["geheim", "0815", "of", "a", "deposit"].join("-")
}

#[test]
fn a_payload_is_in_no_memory_once_it_is_deleted() {
    if !fdbroker_tests::needs_root("looking into the broker's memory") {
        return;
    }
    let daemon = fdbroker_tests::Daemon::open().start();
    let mut peer = daemon.connect();
    peer.add((1, 0), secret()).done();
    assert_eq!(peer.get((1, 0)).payload(), secret().as_bytes());
    let is_in = |pid| is_in_memory(pid, secret().as_bytes());
    let (supervisor, worker) = (daemon.supervisor_pid(), daemon.worker_pid());
    wait_until("both have it", || is_in(supervisor) && is_in(worker));
    peer.del((1, 0)).done();
    wait_until("neither has it", || !is_in(supervisor) && !is_in(worker));
    assert!(!daemon.log().text().contains(&secret()));
}

#[test]
fn threads_can_still_be_started_and_processes_cannot() {
    if !confines() {
        return;
    }
    assert_eq!(status("threads").code(), Some(42));
    assert_eq!(status("clone3").code(), Some(libc::ENOSYS));
}
