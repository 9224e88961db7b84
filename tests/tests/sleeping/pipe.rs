//! A pipe whose mutex is held.

use fdbroker_tests::stuck::HeldPipe;
use fdbroker_tests::{Daemon, request};

use crate::{policy, serves_others, sleeps};

const SLOT: (i16, i32) = (1, 0);
const OTHER: (i16, i32) = (1, 1);

#[test] // F1
fn a_refused_pipe_that_cannot_be_closed_stops_nobody() {
    let daemon = Daemon::with_policy(&policy()).start();
    let mut bystander = daemon.connect();
    let mut peer = daemon.connect();
    let mut pipe = HeldPipe::new();
    let worker = daemon.worker_pid();
    // A GET takes no descriptor.
    pipe.give(worker, |end| peer.send(&request::get(SLOT), &[end]));
    assert!(peer.answer().errno() > 0);
    assert!(sleeps(worker));
    serves_others(&daemon, &mut bystander, OTHER);
}

#[test] // F2
fn a_deposited_pipe_that_cannot_be_closed_stops_nobody() {
    let daemon = Daemon::with_policy(&policy()).start();
    let mut bystander = daemon.connect();
    let mut peer = daemon.connect();
    let mut pipe = HeldPipe::new();
    pipe.give(daemon.worker_pid(), |end| peer.send(&request::add(SLOT, 3, b""), &[end]));
    peer.answer().done();
    peer.del(SLOT).done();
    serves_others(&daemon, &mut bystander, OTHER);
    pipe.let_go();
}
