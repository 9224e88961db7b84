//! Descriptors with a byte out of band (MSG_OOB), which a reader that does not ask for them inline
//! never sees: the kernel closes them inside its recvmsg(2).

use fdbroker_tests::stuck::HeldPipe;
use fdbroker_tests::{Daemon, request, sys};

use crate::{policy, serves_others};

const SLOT: (i16, i32) = (1, 0);
const OTHER: (i16, i32) = (1, 1);

#[test] // F3
fn descriptors_sent_out_of_band_stop_nobody() {
    let daemon = Daemon::with_policy(&policy()).start();
    let mut bystander = daemon.connect();
    let mut peer = daemon.connect();
    let mut pipe = HeldPipe::new();
    pipe.give(daemon.worker_pid(), |end| {
        sys::send_out_of_band(peer.socket(), b"x", &[end]).expect("the kernel takes MSG_OOB");
        // Beyond the mark: now a reader comes past it.
        peer.send(b"yz", &[]);
    });
    serves_others(&daemon, &mut bystander, OTHER);
}

#[test]
fn a_byte_sent_out_of_band_is_read_in_its_place() {
    let daemon = Daemon::with_policy(&policy()).start();
    let mut peer = daemon.connect();
    let request = request::tag(1);
    let (last, first) = request.split_last().expect("a request has bytes");
    peer.send(first, &[]);
    sys::send_out_of_band(peer.socket(), &[*last], &[]).expect("the kernel takes MSG_OOB");
    assert!(peer.is_answered(fdbroker_tests::PATIENCE));
    peer.answer();
    peer.is_served(SLOT);
}
