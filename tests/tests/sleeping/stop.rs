//! Stopping while a thread sleeps: neither process waits for it before it exits.

use fdbroker_tests::stuck::{HeldPipe, Stopped, sleeping_thread};
use fdbroker_tests::{Daemon, process, request, wait_until};
use rustix::process::Signal;

use crate::policy;

const SLOT: (i16, i32) = (1, 0);

/// A broker whose supervisor has a thread that sleeps in close(2), and what it sleeps for.
fn with_sleeping_supervisor() -> (Daemon, HeldPipe) {
    let daemon = Daemon::with_policy(&policy()).start();
    let mut pipe = HeldPipe::new();
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    pipe.give(daemon.worker_pid(), |end| peer.send(&request::add(SLOT, 3, b""), &[end]));
    peer.answer().done();
    // The supervisor's copy is to be the last.
    let stopped = Stopped::new(daemon.supervisor_pid());
    peer.del(SLOT).done();
    wait_until("the worker has closed its copy", || daemon.descriptors().worker == before.worker);
    drop(stopped);
    sleeping_thread(daemon.supervisor_pid());
    (daemon, pipe)
}

#[test]
fn a_broker_that_was_killed_while_a_close_sleeps_can_be_started_again() {
    let (mut daemon, mut pipe) = with_sleeping_supervisor();
    let (supervisor, worker) = (daemon.supervisor_pid(), daemon.worker_pid());
    process::signal(supervisor, Signal::KILL);
    wait_until("the supervisor has exited", || !process::runs(supervisor));
    let next = Daemon::with_policy(&policy()).socket(daemon.socket().to_owned()).start();
    next.connect().is_served((1, 9));
    wait_until("the worker that was left has ended", || !process::runs(worker));
    pipe.let_go();
    daemon.kill();
}

#[test]
fn a_worker_that_was_killed_and_sleeps_in_its_exit_is_replaced_at_once() {
    let daemon = Daemon::with_policy(&policy()).start();
    let mut peer = daemon.connect();
    // The rest of it never comes: what it brings is closed when the worker exits, on any of its threads.
    let add = request::add_announcing(SLOT, 3, 100, b"");
    let mut pipe = HeldPipe::new();
    pipe.give(daemon.worker_pid(), |end| peer.send(&add, &[end]));
    daemon.connect().is_served((1, 9));
    let worker = daemon.worker_pid();
    process::signal(worker, Signal::KILL);
    sleeping_thread(worker);
    // It waits in the queue until another one serves.
    daemon.connect().is_served((1, 9));
    assert!(!daemon.log().text().contains("it hangs"), "{}", daemon.log().text());
    pipe.let_go();
}

#[test] // F2, F8
fn a_supervisor_that_sleeps_in_close_heeds_sigterm() {
    // The pipe lets go first, also when the test fails.
    let (mut daemon, mut pipe) = with_sleeping_supervisor();
    let (supervisor, worker) = (daemon.supervisor_pid(), daemon.worker_pid());
    process::signal(supervisor, Signal::TERM);
    wait_until("the worker has ended", || !process::runs(worker));
    wait_until("the socket file is removed", || !daemon.socket().exists());
    // The kernel keeps what a thread in state D belongs to; but it has exited.
    wait_until("the supervisor has exited", || !process::runs(supervisor));
    pipe.let_go();
    assert!(daemon.end(Signal::TERM).success());
}
