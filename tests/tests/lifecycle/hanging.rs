//! A worker that no longer answers.

use std::time::Duration;

use fdbroker_tests::{Daemon, process, request, wait_until};
use rustix::process::Signal;

use super::{daemon, logs, status_has};

/// The supervisor replaces a worker that has not answered for 10 s. That time itself has to pass.
const LONGER_THAN_A_HANG: Duration = Duration::from_secs(15);

#[test]
fn a_stopped_worker_is_replaced_and_clients_are_served() {
    let daemon = daemon();
    let worker = daemon.worker_pid();
    let mut peer = daemon.connect();
    peer.add((1, 1), "kept").done();
    process::signal(worker, Signal::STOP);
    assert!(peer.hangs_up(), "the connection to the stopped worker did not end");
    assert_eq!(daemon.connect().get((1, 1)).payload(), b"kept");
    wait_until("the stopped worker is gone", || process::has_ended(worker));
    logs(&daemon, "it hangs: it has not answered for 10 s");
    assert!(status_has(&daemon, "worker_restarts=1"), "{}", daemon.says(&["status"]));
}

#[test]
fn a_supervisor_that_was_stopped_for_long_blames_nobody() {
    let daemon = daemon();
    let worker = daemon.worker_pid();
    let mut peer = daemon.connect();
    peer.add((1, 1), "kept").done();
    daemon.stop_supervisor();
    std::thread::sleep(LONGER_THAN_A_HANG);
    daemon.go_on();
    daemon.reload_files();
    assert_eq!(peer.get((1, 1)).payload(), b"kept");
    assert_eq!(daemon.worker_pid(), worker);
}

/// More than lie unread between the two processes.
const MANY: i32 = 60;

#[test]
fn a_deposit_waits_for_a_supervisor_that_gets_no_processor() {
    let daemon = daemon();
    let mut peers: Vec<_> = (0..MANY).map(|_| daemon.connect()).collect();
    let payload = [0; fdbroker_wire::MAX_PAYLOAD];
    daemon.stop_supervisor();
    for (index, peer) in (1..).zip(&mut peers) {
        peer.send(&request::add((1, index), -1, &payload), &[]);
    }
    // The time itself has to pass after which descriptors in flight make a deposit fail.
    std::thread::sleep(Duration::from_secs(3));
    daemon.go_on();
    peers.iter_mut().for_each(|peer| peer.answer().done());
}

#[test]
fn a_service_manager_that_never_answers_keeps_nobody_from_being_served() {
    let directory = fdbroker_tests::Directory::new();
    let mute = std::os::unix::net::UnixDatagram::bind(directory.join("notify")).unwrap();
    let daemon = Daemon::open().environment("NOTIFY_SOCKET", directory.join("notify")).start();
    let mut peer = daemon.connect();
    for index in 0..3 {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        peer.add_descriptor((1, index), socket, "").done();
        peer.del((1, index)).done();
    }
    logs(&daemon, "the service manager does not take descriptors into its store");
    drop(mute);
}

#[test]
fn the_status_says_how_the_two_processes_are() {
    let daemon = daemon();
    let lines =
        ["worker_restarts=0", "workers_left_behind=0", "deposits_set_aside=none", "listener=ok"];
    for line in lines {
        wait_until(line, || status_has(&daemon, line));
    }
}

#[test]
fn the_worker_is_the_first_to_go_when_memory_runs_out() {
    let daemon = daemon();
    let adjust = |pid| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(adjust(daemon.worker_pid()), "500\n");
    assert_ne!(adjust(daemon.supervisor_pid()), "500\n");
}
