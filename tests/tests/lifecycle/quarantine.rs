//! What kills each worker is kept from the next one.

use std::os::fd::{AsFd, OwnedFd};

use fdbroker_tests::{Daemon, process, request, skip, sys, wait_until};
use fdbroker_wire::{Control, Message, Slot};
use rustix::process::Signal;

use super::{daemon, logs, status_has};

/// Speaks as the worker to the supervisor; false where we may not.
fn say(daemon: &Daemon, bytes: &[u8]) -> bool {
    let Ok(link) = sys::taken_from(daemon.worker_pid(), 0) else { return false };
    sys::send_all(link.as_fd(), bytes, &[]).unwrap();
    true
}

fn kill(daemon: &Daemon, signal: Signal) {
    let worker = daemon.worker_pid();
    process::signal(worker, signal);
    wait_until("the worker is gone", || process::has_ended(worker));
}

#[test]
fn a_deposit_without_a_record_is_not_kept() {
    let daemon = daemon();
    daemon.connect().add((1, 1), "kept").done();
    // No payload begins with the mark by chance.
    if !say(&daemon, &request::add((1, 2), -1, b"no record, and more than sixteen bytes")) {
        return skip("a deposit without a record", "descriptors of others cannot be taken");
    }
    kill(&daemon, Signal::KILL);
    let mut peer = daemon.connect();
    assert_eq!(peer.get((1, 1)).payload(), b"kept");
    assert_eq!(peer.get((1, 2)).errno(), libc::ENOENT);
    logs(&daemon, "without a record of its owner");
}

/// Deposits something in slot 1/5 on which three workers die; false where we may not.
pub(super) fn set_aside(daemon: &Daemon, what: &str) -> bool {
    daemon.connect().add((1, 5), what).done();
    let suspect = Control::<OwnedFd>::Suspect(Slot::new(1, 5).unwrap()).into_extended();
    let suspect = Message::Extended(suspect).to_bytes();
    for _ in 0..3 {
        assert_eq!(daemon.connect().get((1, 5)).payload(), what.as_bytes());
        if !say(daemon, &suspect) {
            return false;
        }
        kill(daemon, Signal::ABORT);
    }
    true
}

#[test]
fn a_deposit_that_three_workers_died_on_is_set_aside() {
    let daemon = daemon();
    daemon.connect().add((1, 1), "kept").done();
    if !set_aside(&daemon, "poisoned") {
        return skip("a poisoned deposit", "descriptors of others cannot be taken");
    }
    let mut peer = daemon.connect();
    assert_eq!(peer.get((1, 1)).payload(), b"kept");
    assert_eq!(peer.get((1, 5)).errno(), libc::ENOENT);
    wait_until("the status tells", || status_has(&daemon, "deposits_set_aside=1/5"));
    logs(&daemon, "three workers have died on the deposit in slot 1/5");
    // It is not lost: after a reload the next worker gets it.
    daemon.reload_files();
    kill(&daemon, Signal::KILL);
    assert_eq!(daemon.connect().get((1, 5)).payload(), b"poisoned");
}

#[test]
fn what_was_set_aside_and_what_was_put_in_its_slot_meanwhile_are_both_kept() {
    let daemon = daemon();
    if !set_aside(&daemon, "poisoned") {
        return skip("a poisoned deposit", "descriptors of others cannot be taken");
    }
    wait_until("the next one serves", || status_has(&daemon, "deposits_set_aside=1/5"));
    daemon.reload_files();
    daemon.connect().add((1, 5), "put there meanwhile").done();
    kill(&daemon, Signal::KILL);
    let mut peer = daemon.connect();
    assert_eq!(peer.get((1, 5)).payload(), b"put there meanwhile");
    peer.del((1, 5)).done();
    kill(&daemon, Signal::KILL);
    assert_eq!(daemon.connect().get((1, 5)).payload(), b"poisoned");
}
