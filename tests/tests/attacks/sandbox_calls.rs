//! A worker under strace(1): what it calls is what its filter lists, and a call that it must not make ends it.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use fdbroker_tests::{Daemon, HelperProcess, claims, fixtures, process, skip, wait_until};
use fdbrokerd::sandbox::{Needed, calls};
use rustix::process::Signal;

/// Watches a process, and what it starts, until all of it ends.
struct Strace {
    tool: Child,
    output: PathBuf,
}

impl Strace {
    /// Watches the process `pid` of `daemon`; `None` if there is no tool for it, or no right to.
    fn of(daemon: &Daemon, pid: u32, what: &str, arguments: &[&str]) -> Option<Self> {
        let output = daemon.directory().join("strace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(&output).args(arguments);
        command.args(["-p", &pid.to_string()]);
        let Ok(mut tool) = command.spawn() else {
            skip(what, "there is no strace");
            return None;
        };
        let watched = || process::status(pid, "TracerPid") != "0";
        wait_until("strace watches", || watched() || tool.try_wait().unwrap().is_some());
        if !watched() {
            assert!(!fdbroker_tests::is_root(), "strace ended");
            skip(what, "watching takes root");
            return None;
        }
        Some(Self { tool, output })
    }

    /// The names of the calls that the confined worker made.
    fn calls(mut self) -> BTreeSet<String> {
        self.tool.wait().unwrap();
        made(&std::fs::read_to_string(&self.output).unwrap())
    }
}

/// What the process that was executed as a worker, and its threads, called after its last filter was installed.
fn made(text: &str) -> BTreeSet<String> {
    let worker = text.lines().find(|line| line.contains(" execve(\"/proc/self/exe\""));
    let worker = worker.and_then(|line| line.split_once(' ')).expect("a worker was started").0;
    let filter = |line: &str| line.starts_with(worker) && line.contains(" seccomp(");
    let confined =
        1 + text.lines().collect::<Vec<_>>().iter().rposition(|line| filter(line)).unwrap();
    let (mut threads, mut calls) = (BTreeSet::from([worker.to_owned()]), BTreeSet::new());
    for line in text.lines().skip(confined) {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let Some(name) = name(call).filter(|_| threads.contains(pid)) else { continue };
        if name == "clone" {
            threads.extend(line.rsplit_once("= ").map(|(_, thread)| thread.to_owned()));
        }
        calls.insert(name.to_owned());
    }
    calls
}

/// The name of the call in `name(…` or `<... name resumed>…`.
fn name(call: &str) -> Option<&str> {
    let call = call.trim_start();
    let call = call.strip_prefix("<... ").unwrap_or(call);
    let end = call.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
    (end > 0).then(|| &call[..end])
}

/// Has a worker do whatever it is for.
fn work(daemon: &mut Daemon) {
    let mut peer = daemon.connect();
    for size in [0, 100, 32768] {
        peer.add((claims::WEB, 1), vec![7; size]).done();
        assert_eq!(peer.get((claims::WEB, 1)).payload().len(), size);
    }
    // Enough to take and give back memory.
    (0..200).for_each(|index| peer.add((claims::WEB, index), [7; 32768]).done());
    (0..200).for_each(|index| peer.del((claims::WEB, index)).done());
    kinds(daemon);
    // A session that ends in the middle of a message.
    let mut leaving = daemon.connect();
    leaving.send(&fdbroker_tests::request::get((claims::WEB, 1))[..3], &[]);
    drop(leaving);
    // Another process writes on the connection of this one: its identity is read below /proc.
    let helper = HelperProcess::same();
    helper.take_over(peer.socket()).get((claims::WEB, 1));
    // A policy that is longer than what memory is taken for at once.
    let policy = format!("{}{}", claims::POLICY, "# and more\n".repeat(50_000));
    daemon.reload(&policy);
    drop((helper, peer));
    assert!(daemon.end(Signal::TERM).success());
}

/// Deposits one of each kind that is told apart by more than its type, and fetches it unread.
fn kinds(daemon: &Daemon) {
    let mut peer = daemon.connect();
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    // Whether it is taken is the policy's; what it is, is asked in any case.
    peer.ask(&fdbroker_tests::request::add((claims::WEB, 300), 1, b""), &[one.as_fd()]);
    peer.add_descriptor((claims::WEB, 301), fixtures::file_saying("x"), "").done();
    let (lingering, _other) = fixtures::full_and_lingering(Duration::from_secs(1));
    peer.add_descriptor((claims::WEB, 302), lingering, "").done();
    let helper = HelperProcess::same();
    let mut unread = helper.connect(daemon);
    for _ in 0..12 {
        unread.send(&fdbroker_tests::request::get((claims::WEB, 301)), &[]);
    }
    for index in 301..303 {
        drop(peer.get((claims::WEB, index)));
        peer.del((claims::WEB, index)).done();
    }
    let own = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap();
    peer.ask(&fdbroker_tests::request::add((claims::WEB, 303), 1, b""), &[pidfd.as_fd()]);
}

#[test]
fn the_worker_calls_what_its_filter_lists_and_nothing_less() {
    let mut daemon = Daemon::of_claims();
    let supervisor = daemon.supervisor_pid();
    let Some(strace) = Strace::of(&daemon, supervisor, "the list of calls", &[]) else { return };
    // The next worker is watched from its start, and keeps a tag for its owner.
    let _owner = daemon.owner(claims::SERIAL);
    daemon.kill_worker();
    work(&mut daemon);
    let made = strace.calls();
    let listed: BTreeSet<&str> = calls().iter().map(|call| call.name).collect();
    let unlisted: Vec<_> = made.iter().filter(|name| !listed.contains(name.as_str())).collect();
    assert!(unlisted.is_empty(), "made and not listed: {unlisted:?}");
    let always = calls().iter().filter(|call| call.needed == Needed::Always);
    let idle: Vec<_> = always.filter(|call| !made.contains(call.name)).collect();
    assert!(idle.is_empty(), "listed, and made by nobody: {idle:#?}");
}

#[test]
fn a_refused_call_ends_the_worker_loudly_and_the_deposits_stay() {
    let daemon = Daemon::of_claims();
    let mut peer = daemon.connect();
    peer.add((claims::WEB, 5), "kept").done();
    let worker = daemon.worker_pid();
    // A call that the worker never makes, in the place of its next recvmsg(2): as a worker would that was taken over.
    let inject =
        ["-e", "trace=recvmsg", "-e", "inject=recvmsg:error=EAGAIN:syscall=getppid:when=1"];
    let Some(mut strace) = Strace::of(&daemon, worker, "a refused call in a worker", &inject)
    else {
        return;
    };
    // It is answered by nobody.
    let _ = peer.try_send(&fdbroker_tests::request::get((claims::WEB, 5)), &[]);
    wait_until("the worker is gone", || process::has_ended(worker));
    strace.tool.wait().unwrap();
    wait_until("another worker serves", || {
        daemon.log().text().matches("the worker is confined by").count() == 2
    });
    assert_eq!(daemon.connect().get((claims::WEB, 5)).payload(), b"kept");
    let log = daemon.log().text();
    let said = format!("the system call filter refused call number {};", libc::SYS_getppid);
    assert!(log.contains(&said), "{log}");
    assert!(log.contains("the worker has died (signal: 31 (SIGSYS))"), "{log}");
}

#[test]
fn of_a_trace_the_confined_worker_and_its_threads_count() {
    let text = "1 openat(x) = 3\n2 execve(\"/proc/self/exe\", x) = 0\n2 setuid(1) = 0\n2 seccomp(1) = 0\n\
                1 kill(2, 9) = 0\n2 clone(x <unfinished ...>\n1 read(0) = 1\n2 <... clone resumed>) = 7\n\
                7  <... futex resumed>) = 0\n2 +++ exited with 0 +++\n";
    assert_eq!(made(text).into_iter().collect::<Vec<_>>(), ["clone", "futex"]);
}
