//! Locks that are held while a page of memory does not come (userfaultfd(2), as FUSE would do it): the
//! mutex of an epoll instance that watches a file, the lock of a socket.

use fdbroker_tests::stuck::{HeldByPage, sleeping_thread};
use fdbroker_tests::{Daemon, request, skip};

use crate::{policy, serves_others};

const SLOT: (i16, i32) = (1, 0);
const OTHER: (i16, i32) = (1, 1);

#[test] // F1, F2
fn a_watched_pipe_that_cannot_be_closed_stops_nobody() {
    // What sleeps is let go before the daemon ends, also when the test fails.
    let daemon = Daemon::with_policy(&policy()).start();
    let mut held = match HeldByPage::watched_pipe() {
        Ok(held) => held,
        Err(error) => return skip("a watched pipe", &error.to_string()),
    };
    let mut bystander = daemon.connect();
    let mut peer = daemon.connect();
    held.give(daemon.worker_pid(), |end| peer.send(&request::get(SLOT), &[end]));
    assert!(peer.answer().errno() > 0);
    sleeping_thread(daemon.worker_pid());
    serves_others(&daemon, &mut bystander, OTHER);
    held.let_go();
}

#[test] // F8: what a deposit is, is asked without its lock
fn a_deposited_socket_whose_lock_is_held_stops_nobody() {
    let daemon = Daemon::with_policy(&policy()).start();
    let (mut held, _other_end) = match HeldByPage::locked_socket() {
        Ok(held) => held,
        Err(error) => return skip("a locked socket", &error.to_string()),
    };
    let mut bystander = daemon.connect();
    let mut peer = daemon.connect();
    held.give(daemon.worker_pid(), |end| peer.send(&request::add(SLOT, 3, b""), &[end]));
    peer.answer().done();
    assert!(peer.get(SLOT).errno() == 0, "it can be given");
    peer.del(SLOT).done();
    serves_others(&daemon, &mut bystander, OTHER);
    held.let_go();
}
