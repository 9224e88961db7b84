//! A deletion is answered soon, although its close sleeps. That it is answered after the close where
//! nothing sleeps, the tests of the Python client see: no other thread of theirs starts processes, which
//! would have a duplicate of each socket for a moment.

use std::time::Instant;

use fdbroker_tests::stuck::HeldPipe;
use fdbroker_tests::{Daemon, PATIENCE, request};

use crate::policy;

const SLOT: (i16, i32) = (1, 0);

#[test]
fn a_close_that_sleeps_delays_one_answer_and_not_all_of_its_user() {
    let daemon = Daemon::with_policy(&policy()).start();
    let (mut peer, mut pipe) = (daemon.connect(), HeldPipe::new());
    pipe.give(daemon.worker_pid(), |end| peer.send(&request::add(SLOT, 3, b""), &[end]));
    peer.answer().done();
    peer.del(SLOT).done();
    let begin = Instant::now();
    // Each of them would wait for a second.
    for _ in 0..100 {
        let end = std::io::pipe().unwrap().0;
        peer.add_descriptor(SLOT, &end, "").done();
        peer.del(SLOT).done();
    }
    assert!(begin.elapsed() < PATIENCE, "each deletion waits: {:?}", begin.elapsed());
    pipe.let_go();
}
