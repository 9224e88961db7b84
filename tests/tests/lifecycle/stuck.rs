//! A worker that cannot die: a thread of it sleeps in close(2), in state D, which not even SIGKILL
//! ends. That thread keeps the link and every connection open.

use fdbroker_tests::stuck::{HeldPipe, sleeping_thread};
use fdbroker_tests::unflushed::UnflushedFile;
use fdbroker_tests::{Daemon, HelperProcess, Peer, needs_root, process, request, wait_until};
use rustix::process::Signal;

use super::{daemon, logs, status_has};

/// Has a thread of the worker sleep until the pipe is let go; returns that, and a client.
fn stick(daemon: &Daemon) -> (HeldPipe, Peer) {
    let worker = daemon.worker_pid();
    let mut peer = daemon.connect();
    peer.add((1, 1), "kept").done();
    let known = || {
        let connections = process::sockets_at(daemon.socket());
        let open = process::descriptors(daemon.supervisor_pid()).unwrap();
        // The listening socket, and this connection.
        open.values().filter(|target| connections.contains(*target)).count() >= 2
    };
    wait_until("the supervisor knows the connection", known);
    let mut attacker = daemon.connect();
    let mut held = HeldPipe::new();
    held.give(worker, |end| attacker.send(&request::get((1, 99)), &[end]));
    sleeping_thread(worker);
    (held, peer)
}

#[test]
fn a_killed_worker_that_cannot_die_is_replaced() {
    let daemon = daemon();
    let (mut held, mut peer) = stick(&daemon);
    let worker = daemon.kill_worker();
    assert!(peer.hangs_up(), "the connection to the dead worker did not end");
    assert_eq!(daemon.connect().get((1, 1)).payload(), b"kept");
    wait_until("the status tells", || status_has(&daemon, "workers_left_behind=1"));
    assert!(process::stat(worker).is_some(), "it could be reaped: this tests nothing");
    logs(&daemon, "cannot be killed");
    // Let go, it is reaped.
    held.let_go();
    wait_until("it is reaped", || process::stat(worker).is_none());
    wait_until("the status tells", || status_has(&daemon, "workers_left_behind=0"));
}

#[test]
fn sigterm_ends_the_broker_beside_a_worker_that_cannot_die() {
    let mut daemon = daemon();
    let (_held, _peer) = stick(&daemon);
    daemon.kill_worker();
    assert_eq!(daemon.connect().get((1, 1)).payload(), b"kept");
    assert!(daemon.end(Signal::TERM).success());
}

#[test]
fn sigterm_ends_the_broker_and_connections_of_a_stuck_worker() {
    let mut daemon = daemon();
    let (_held, mut peer) = stick(&daemon);
    assert!(daemon.end(Signal::TERM).success());
    assert!(peer.hangs_up());
}

#[test]
fn connections_of_a_stuck_worker_end_with_the_supervisor() {
    let mut daemon = daemon();
    let (_held, mut peer) = stick(&daemon);
    daemon.kill();
    assert!(peer.hangs_up());
}

#[test]
fn a_worker_starts_although_a_deposit_cannot_be_flushed() {
    let Some(unflushed) = UnflushedFile::open() else { return };
    let daemon = daemon();
    daemon.connect().add_descriptor((1, 1), &unflushed.file, "kept").done();
    unflushed.hold_children_of(daemon.supervisor_pid());
    // The one that is killed sleeps as it exits.
    process::signal(daemon.worker_pid(), Signal::KILL);
    wait_until("it sleeps", || unflushed.waiting() == 1);
    // One that starts closes nothing of it.
    assert_eq!(daemon.connect().get((1, 1)).payload(), b"kept");
    assert_eq!(unflushed.waiting(), 1, "the worker that was killed, and no other");
}

#[test]
fn a_resource_whose_close_sleeps_at_the_supervisor_keeps_nobody_elses_open_there() {
    if !needs_root("resources of two users") {
        return;
    }
    let Some(unflushed) = UnflushedFile::open() else { return };
    let policy = format!(
        r#"
[tags.things]
id = 1

[resources.unflushed]
slot = "things/0"
file = {:?}

[resources.null]
slot = "things/1"
device = "/dev/null"

[[rules]]
id = "all"
allow = ["get"]
slots = ["things/*"]
anyone = true
"#,
        unflushed.path()
    );
    let daemon = Daemon::with_policy(&policy).start();
    let supervisor = daemon.supervisor_pid();
    unflushed.hold(supervisor);
    drop(HelperProcess::user(64041).connect(&daemon).get((1, 0)).descriptor());
    wait_until("the supervisor's copy sleeps", || unflushed.waiting() == 1);
    let mut peer = daemon.connect();
    let of_null = || {
        let open = process::descriptors(supervisor).unwrap();
        open.values().filter(|target| *target == "/dev/null").count()
    };
    let before = of_null();
    for _ in 0..50 {
        drop(peer.get((1, 1)).descriptor());
    }
    wait_until("all of another user's are closed", || of_null() <= before);
    assert_eq!(unflushed.waiting(), 1, "it still sleeps");
    // So that the supervisor can end.
    drop(unflushed);
}
