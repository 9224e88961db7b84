//! Descriptors in the backlog of a listening socket: with its last close(2) the kernel closes what peers
//! that nobody accepted have sent.

use std::fs;
use std::os::fd::AsFd;

use fdbroker_tests::stuck::{HeldPipe, Stopped, sleeping_thread};
use fdbroker_tests::{Daemon, Peer, process, request, wait_until};
use rustix::process::Signal;

use crate::{policy, serves_others};

const SLOT: (i16, i32) = (1, 0);
const OTHER: (i16, i32) = (1, 1);

/// Connects to a broker whose worker is stopped, and sends an end that cannot be closed.
fn waits_with(daemon: &Daemon, pipe: &mut HeldPipe) -> Peer {
    let mut peer = daemon.connect();
    let end = pipe.take();
    peer.send(&request::get(SLOT), &[end.as_fd()]);
    peer
}

#[test]
fn a_supervisor_that_replaces_a_listener_with_a_full_backlog_goes_on() {
    // What sleeps is let go before the daemon ends, also when the test fails.
    let daemon = Daemon::with_policy(&policy()).start();
    let mut pipe = HeldPipe::new();
    let worker = daemon.worker_pid();
    let stopped = Stopped::new(worker);
    let _waiting = waits_with(&daemon, &mut pipe);
    // It finds the file gone when the worker is, and its close of the listener is the last.
    let supervisor = Stopped::new(daemon.supervisor_pid());
    fs::remove_file(daemon.socket()).expect("the socket file is there");
    process::signal(worker, Signal::KILL);
    wait_until("the worker has ended", || process::has_ended(worker));
    drop((stopped, supervisor));
    wait_until("the socket file has been made again", || daemon.socket().exists());
    sleeping_thread(daemon.supervisor_pid());
    let mut bystander = daemon.connect();
    serves_others(&daemon, &mut bystander, OTHER);
    pipe.let_go();
}

#[test]
fn a_worker_that_gets_another_listener_than_one_with_a_full_backlog_goes_on() {
    // How many of them it has accepted by then is not to matter to the bystander.
    let daemon = Daemon::with_policy(&policy()).setting("max_connections_per_uid = 1000").start();
    let mut pipe = HeldPipe::new();
    let worker = daemon.worker_pid();
    let stopped = Stopped::new(worker);
    // The worker accepts for a part of a millisecond at a time: these are too many for that.
    let mut waiting: Vec<Peer> = (0..300).map(|_| daemon.connect()).collect();
    waiting.push(waits_with(&daemon, &mut pipe));
    fs::remove_file(daemon.socket()).expect("the socket file is there");
    wait_until("the socket file has been made again", || daemon.socket().exists());
    drop(stopped);
    let mut bystander = daemon.connect();
    serves_others(&daemon, &mut bystander, OTHER);
    assert!(!daemon.log().text().contains("the worker has died"), "it had to be replaced");
    pipe.let_go();
}

#[test]
fn a_worker_whose_supervisor_was_killed_ends_its_connections_whatever_the_backlog_holds() {
    let mut daemon = Daemon::with_policy(&policy()).start();
    let mut pipe = HeldPipe::new();
    let (supervisor, worker) = (daemon.supervisor_pid(), daemon.worker_pid());
    let mut client = daemon.connect();
    client.is_served(OTHER);
    let stopped = Stopped::new(worker);
    let mut waiting: Vec<Peer> = (0..300).map(|_| daemon.connect()).collect();
    waiting.push(waits_with(&daemon, &mut pipe));
    process::signal(supervisor, Signal::KILL);
    wait_until("the supervisor has exited", || !process::runs(supervisor));
    drop(stopped);
    client.until_closed();
    wait_until("the worker has ended", || !process::runs(worker));
    pipe.let_go();
    daemon.kill();
}
