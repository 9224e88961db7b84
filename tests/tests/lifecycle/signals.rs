//! Signals that administrators send, and what a careless starter leaves behind.

use std::process::Command;

use fdbroker_tests::{Daemon, process};
use rustix::process::Signal;

/// Every signal whose default ends a process, but for those that mean to: see signal(7).
fn unused() -> impl Iterator<Item = i32> {
    let named = [
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGPIPE,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGSTKFLT,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGXCPU,
        libc::SIGXFSZ,
    ];
    named.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
}

fn send(signal: i32, pid: u32) {
    let number = format!("-{signal}");
    let sent = Command::new("/bin/kill").args([number, pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{signal}");
}

#[test]
fn a_signal_without_a_use_ends_neither_process() {
    let daemon = Daemon::open().start();
    let (supervisor, worker) = (daemon.supervisor_pid(), daemon.worker_pid());
    let mut peer = daemon.connect();
    peer.add((1, 1), "kept").done();
    for signal in unused() {
        send(signal, supervisor);
        send(signal, worker);
        assert_eq!(peer.get((1, 1)).payload(), b"kept", "after {signal}");
        assert!(process::runs(supervisor), "the supervisor died of {signal}");
        assert!(process::runs(worker), "the worker died of {signal}");
    }
    // Both answer, and neither was replaced.
    daemon.reload_files();
    assert_eq!(daemon.worker_pid(), worker);
    assert_eq!(peer.get((1, 1)).payload(), b"kept");
}

#[test]
fn a_signal_to_stop_that_reaches_only_the_worker_stops_nothing() {
    let daemon = Daemon::open().start();
    let worker = daemon.worker_pid();
    let mut peer = daemon.connect();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        send(signal, worker);
        assert!(peer.get((1, 1)).errno() == libc::ENOENT, "after {signal}");
    }
    assert_eq!(daemon.worker_pid(), worker);
}

#[test]
fn sigquit_stops_the_broker_in_order() {
    let mut daemon = Daemon::open().start();
    assert!(daemon.end(Signal::QUIT).success());
    assert!(!daemon.socket().exists());
}

#[test]
fn a_starter_that_blocks_all_signals_does_not_make_it_unstoppable() {
    let mut daemon = Daemon::open().badly_started().start();
    let worker = daemon.worker_pid();
    daemon.reload_files();
    // SIGCHLD was ignored: nobody could wait for the worker.
    daemon.kill_worker();
    daemon.connect().add((1, 1), "kept").done();
    assert_ne!(daemon.worker_pid(), worker);
    assert!(daemon.log().text().contains("(signal: 9 (SIGKILL))"), "{}", daemon.log().text());
    assert!(daemon.end(Signal::TERM).success());
}
