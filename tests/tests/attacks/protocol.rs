//! What a hostile peer does with the protocol: the others must not notice.
//!
//! Each attack runs beside a bystander that connected before it; afterwards the bystander is
//! served, and as many descriptors are open as were.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fdbroker_tests::sys::Control;
use fdbroker_tests::{Answer, Builder, Daemon, Descriptors, Peer, fixtures, process, request};
use rustix::process::Signal;

const SLOT: (i16, i32) = (1, 5);
const BYSTANDER: (i16, i32) = (1, 1000);
/// A tag that the policy does not declare.
const FORBIDDEN: (i16, i32) = (9, 0);

/// A daemon with somebody who was there before the attack.
struct Scene {
    daemon: Daemon,
    bystander: Peer,
    before: Descriptors,
    worker: u32,
}

impl Scene {
    fn new(builder: Builder) -> Self {
        let daemon = builder.start();
        let mut bystander = daemon.connect();
        let before = daemon.descriptors_with(&mut bystander);
        bystander.is_served(BYSTANDER);
        let worker = daemon.worker_pid();
        Self { daemon, bystander, before, worker }
    }

    #[track_caller]
    fn lives(mut self) {
        self.bystander.is_served(BYSTANDER);
        self.daemon.wait_for_descriptors(self.before);
        assert_eq!(self.daemon.worker_pid(), self.worker, "the worker was replaced");
    }
}

#[test] // attack 1
fn an_add_that_does_not_bring_its_descriptor_is_refused_and_deposits_nothing() {
    let scene = Scene::new(Daemon::open());
    let mut peer = scene.daemon.connect();
    assert_eq!(peer.ask(&request::add(SLOT, 3, b"payload"), &[]).errno(), libc::EINVAL);
    assert_eq!(scene.daemon.connect().get(SLOT).errno(), libc::ENOENT);
    drop(peer);
    scene.lives();
}

#[test] // attack 2
fn a_peer_that_leaves_before_its_answer_harms_nobody() {
    let mut scene = Scene::new(Daemon::open());
    scene.bystander.add(SLOT, vec![7; 32768]).done();
    for requests in [1, 2, 30] {
        for _ in 0..30 {
            let mut peer = scene.daemon.connect();
            peer.send(&request::get(SLOT).repeat(requests), &[]);
            drop(peer);
        }
    }
    scene.bystander.del(SLOT).done();
    scene.lives();
}

#[test] // attack 2, when the answer carries a descriptor
fn a_descriptor_on_its_way_to_a_peer_that_has_left_is_not_lost() {
    let mut scene = Scene::new(Daemon::open());
    scene.bystander.add_descriptor(SLOT, fixtures::file_saying("here"), "").done();
    for _ in 0..100 {
        scene.daemon.connect().send(&request::get(SLOT).repeat(3), &[]);
    }
    assert_eq!(fixtures::content(scene.bystander.get(SLOT).descriptor()), "here");
    scene.bystander.del(SLOT).done();
    scene.lives();
}

#[test] // attack 3
fn peers_that_connect_and_stay_silent_keep_nobody_from_being_served() {
    let scene = Scene::new(Daemon::open());
    let silent: Vec<Peer> = (0..100).map(|_| scene.daemon.connect()).collect();
    scene.daemon.connect().is_served(SLOT);
    drop(silent);
    scene.lives();
}

#[test] // attack 4
fn half_a_header_and_then_nothing_is_cut_off_without_an_answer() {
    let scene = Scene::new(Daemon::open().setting("frame_timeout = \"1s\""));
    for begun in [&request::get(SLOT)[..1], &request::get(SLOT)[..7]] {
        let mut peer = scene.daemon.connect();
        peer.send(begun, &[]);
        assert!(peer.until_closed().is_empty(), "half a header was answered");
    }
    scene.lives();
}

#[test] // attack 4, with a payload that never ends
fn a_payload_that_comes_byte_by_byte_does_not_outlast_the_timeout() {
    let scene = Scene::new(Daemon::open().setting("frame_timeout = \"1s\""));
    let mut peer = scene.daemon.connect();
    peer.send(&request::add_announcing(SLOT, -1, 32768, b""), &[]);
    let start = Instant::now();
    // A byte from time to time: no byte may start the time again.
    while !peer.is_answered(Duration::from_millis(100)) {
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(20), "not cut off after {waited:?}");
        if peer.try_send(b"x", &[]).is_err() {
            break;
        }
    }
    assert!(peer.until_closed().is_empty(), "half a message was answered");
    scene.lives();
}

#[test] // attack 4, the other way round
fn a_peer_between_two_messages_may_be_silent_for_longer_than_the_frame_timeout() {
    let scene = Scene::new(Daemon::open().setting("frame_timeout = \"1s\""));
    let mut idle = scene.daemon.connect();
    idle.is_served(SLOT);
    let mut cut_off = scene.daemon.connect();
    cut_off.send(&request::get(SLOT)[..3], &[]);
    cut_off.until_closed();
    // The idle peer has now been silent for as long as the other had time.
    idle.is_served(SLOT);
    drop(idle);
    scene.lives();
}

#[test] // attack 5
fn a_hundred_requests_in_one_write_get_a_hundred_answers_in_their_order() {
    let mut scene = Scene::new(Daemon::open());
    for index in 0..50 {
        scene.bystander.add((1, index), format!("payload {index}")).done();
    }
    let mut peer = scene.daemon.connect();
    let bytes: Vec<u8> = (0..100).flat_map(|index| request::get((1, index))).collect();
    peer.send(&bytes, &[]);
    for index in 0..50 {
        assert_eq!(peer.answer().payload(), format!("payload {index}").into_bytes());
    }
    for _ in 50..100 {
        assert_eq!(peer.answer().errno(), libc::ENOENT);
    }
    (0..50).for_each(|index| scene.bystander.del((1, index)).done());
    drop(peer);
    scene.lives();
}

#[test] // attack 6
fn of_two_requests_that_are_read_at_once_the_descriptor_belongs_to_the_add() {
    let mut scene = Scene::new(Daemon::open());
    scene.bystander.add((1, 6), "plain").done();
    let mut peer = scene.daemon.connect();
    let file = fixtures::file_saying("mine");
    while_stopped(scene.worker, || {
        peer.send(&request::get((1, 6)), &[]);
        peer.send(&request::add(SLOT, 3, b""), &[file.as_fd()]);
        peer.send(&request::get((1, 6)), &[]);
    });
    assert_eq!(peer.answer().payload(), b"plain");
    peer.answer().done();
    assert_eq!(peer.answer().payload(), b"plain");
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "mine");
    peer.del(SLOT).done();
    peer.del((1, 6)).done();
    drop(peer);
    scene.lives();
}

#[test] // attack 6, in one sendmsg
fn an_add_behind_a_plain_request_in_one_send_gets_its_descriptor() {
    let scene = Scene::new(Daemon::open());
    let mut peer = scene.daemon.connect();
    let file = fixtures::file_saying("mine");
    let both = [request::get((1, 6)), request::add(SLOT, 3, b"")].concat();
    peer.send(&both, &[file.as_fd()]);
    assert_eq!(peer.answer().errno(), libc::ENOENT);
    peer.answer().done();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "mine");
    peer.del(SLOT).done();
    drop(peer);
    scene.lives();
}

#[test] // attack 7
fn descriptors_on_requests_that_take_none_are_closed_ten_thousand_times_over() {
    let scene = Scene::new(Daemon::open());
    let file = fixtures::file_saying("unwanted");
    for round in 0..7_500 {
        let mut peer = scene.daemon.connect();
        let bytes = match round % 3 {
            0 => request::get(SLOT),
            1 => request::del(SLOT),
            _ => request::tag(1),
        };
        assert_eq!(peer.ask(&bytes, &[file.as_fd()]).errno(), libc::EINVAL);
        assert!(peer.until_closed().is_empty());
    }
    let mut peer = scene.daemon.connect();
    for _ in 0..2_500 {
        let answer = peer.add_descriptor(FORBIDDEN, &file, "");
        assert_eq!(answer.errno(), libc::EACCES);
    }
    drop(peer);
    scene.lives();
}

#[test] // attack 8
fn numbers_out_of_range_are_refused_and_no_memory_is_taken_for_them() {
    let scene = Scene::new(Daemon::open());
    let peak = process::memory(scene.worker, "VmPeak");
    for bytes in [
        request::get((-1, 0)),
        request::get((1, -1)),
        request::del((i16::MIN, i32::MIN)),
        request::tag(-1),
        request::add((-1, 0), -1, b""),
        request::add((1, -1), -1, b""),
        request::add_announcing(SLOT, -1, -1, b""),
        request::add_announcing(SLOT, -1, 32769, b""),
        request::add_announcing(SLOT, -1, i32::MAX, b""),
        request::add_announcing(SLOT, -1, i32::MIN, b""),
    ] {
        let answer = scene.daemon.connect().ask(&bytes, &[]);
        assert_eq!(answer.errno(), libc::EINVAL, "{bytes:?}");
    }
    let grown = process::memory(scene.worker, "VmPeak") - peak;
    assert!(grown < 256 << 20, "the worker took {grown} bytes");
    assert_eq!(scene.daemon.connect().get(SLOT).errno(), libc::ENOENT);
    scene.lives();
}

#[test] // attack 8, a message that ends early
fn a_payload_shorter_than_announced_deposits_nothing() {
    let scene = Scene::new(Daemon::open());
    let mut peer = scene.daemon.connect();
    peer.send(&request::add_announcing(SLOT, -1, 100, b"only ten b"), &[]);
    rustix::net::shutdown(peer.socket(), rustix::net::Shutdown::Write).unwrap();
    let answers = peer.until_closed();
    assert!(!answers.iter().any(|answer| matches!(answer, Answer::Done)), "{answers:?}");
    assert_eq!(scene.daemon.connect().get(SLOT).errno(), libc::ENOENT);
    scene.lives();
}

#[test] // attack 8, opcodes
fn opcodes_that_are_not_served_are_answered_with_eproto() {
    let scene = Scene::new(Daemon::open());
    let unknown = 7i16.to_ne_bytes().repeat(4);
    let extended = [&200i16.to_ne_bytes()[..], &[0; 6]].concat();
    let control = [&96i16.to_ne_bytes()[..], &[0; 6]].concat();
    for bytes in [unknown, extended, control] {
        let answer = scene.daemon.connect().ask(&bytes, &[]);
        assert_eq!(answer.errno(), libc::EPROTO, "{bytes:?}");
    }
    scene.lives();
}

#[test] // attack 9
fn two_hundred_and_fifty_three_descriptors_on_one_add_are_all_closed() {
    let scene = Scene::new(Daemon::open());
    let file = fixtures::file_saying("one of many");
    let many = [file.as_fd(); 253];
    for announced in [3, -1] {
        let mut peer = scene.daemon.connect();
        let answer = peer.ask(&request::add(SLOT, announced, b""), &many);
        assert_eq!(answer.errno(), libc::EINVAL);
        assert!(peer.until_closed().is_empty());
    }
    assert_eq!(scene.daemon.connect().get(SLOT).errno(), libc::ENOENT);
    scene.lives();
}

#[test] // attack 9, several control messages
fn descriptors_in_several_control_messages_are_all_closed() {
    let scene = Scene::new(Daemon::open());
    let file = fixtures::file_saying("one of three");
    let rights = |count| Control::rights(&[file.as_fd(); 3][..count]);
    let credentials = Control::own_credentials();
    let unknown = Control { level: libc::SOL_SOCKET, kind: 99, data: vec![0; 8] };
    let elsewhere = Control { level: libc::SOL_UDP, kind: 1, data: vec![0; 4] };
    for controls in [
        vec![rights(1), rights(2)],
        vec![credentials.clone(), rights(2)],
        vec![rights(2), unknown],
        vec![elsewhere, rights(2), credentials],
    ] {
        let mut peer = scene.daemon.connect();
        match peer.send_controls(&request::add(SLOT, 3, b""), &controls) {
            Ok(_) => assert_eq!(peer.answer().errno(), libc::EINVAL, "{controls:?}"),
            // The kernel did not even pass it on.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{controls:?}"),
        }
    }
    assert_eq!(scene.daemon.connect().get(SLOT).errno(), libc::ENOENT);
    scene.lives();
}

#[test] // attack 9, harmless control messages
fn an_add_with_credentials_beside_its_descriptor_is_served() {
    let scene = Scene::new(Daemon::open());
    let file = fixtures::file_saying("with credentials");
    let mut peer = scene.daemon.connect();
    let controls = [Control::own_credentials(), Control::rights(&[file.as_fd()])];
    peer.send_controls(&request::add(SLOT, 3, b""), &controls).unwrap();
    peer.answer().done();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "with credentials");
    peer.del(SLOT).done();
    drop(peer);
    scene.lives();
}

/// Does something while a process of the daemon's stands still.
fn while_stopped(pid: u32, act: impl FnOnce()) {
    process::signal(pid, Signal::STOP);
    fdbroker_tests::wait_until("the worker has stopped", || {
        process::stat(pid).is_some_and(|fields| fields[0] == "T")
    });
    act();
    process::signal(pid, Signal::CONT);
}
