//! Descriptors that are nobody's deposit: those that were refused, that wait for the rest of their
//! message, that lie inside a socket, or that belong to somebody who has left.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use fdbroker_tests::stuck::HeldPipe;
use fdbroker_tests::{
    Daemon, HelperProcess, PATIENCE, Peer, fixtures, is_root, request, skip, sys, wait_until,
};

const SLOT: (i16, i32) = (1, 0);
const GREEDY: u32 = 64101;

/// How long the last close(2) of a socket may wait.
const LINGER: Duration = Duration::from_secs(25);

#[track_caller]
fn is_served_without_delay(bystander: &mut Peer) {
    let start = Instant::now();
    for _ in 0..100 {
        bystander.is_served((1, 1));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "others waited {took:?} for a close");
}

#[test] // attacks 15 and 17 together
fn a_refused_socket_that_holds_one_that_lingers_stops_nobody() {
    let daemon = Daemon::open().start();
    let mut bystander = daemon.connect();
    let (held, _other_end) = fixtures::full_and_lingering(LINGER);
    let (outer, inner) = UnixStream::pair().unwrap();
    sys::send(&outer, b"x", &[held.as_fd()]).unwrap();
    drop(held);
    let mut peer = daemon.connect();
    peer.send(&request::add(SLOT, 3, b""), &[inner.as_fd()]);
    // Before it is refused, so that the broker's is the last one.
    drop((outer, inner));
    assert_eq!(peer.answer().errno(), libc::EOPNOTSUPP);
    is_served_without_delay(&mut bystander);
}

#[test] // attack 17, in what was never read
fn a_connection_that_ends_with_a_lingering_socket_unread_stops_nobody() {
    let daemon = Daemon::open().setting("frame_timeout = \"1s\"").start();
    let mut bystander = daemon.connect();
    let (held, _other_end) = fixtures::full_and_lingering(LINGER);
    let mut peer = daemon.connect();
    // Answers that nobody reads: when they fill their buffer, the broker reads no more requests.
    let payload = vec![7; 32768];
    peer.add(SLOT, &payload).done();
    peer.send(&request::get(SLOT).repeat(50), &[]);
    wait_until("the broker waits for its answers to be read", || {
        let before = rustix::io::ioctl_fionread(peer.socket()).unwrap();
        std::thread::yield_now();
        before > 32768 && before == rustix::io::ioctl_fionread(peer.socket()).unwrap()
    });
    peer.send(&request::get(SLOT), &[held.as_fd()]);
    drop((held, peer));
    is_served_without_delay(&mut bystander);
}

#[test] // attack 7, unfinished
fn descriptors_of_messages_that_never_end_fill_nobodys_table() {
    let daemon = Daemon::open().setting("frame_timeout = \"2s\"").descriptor_limit(4096).start();
    let mut bystander = daemon.connect();
    let before = daemon.descriptors_with(&mut bystander);
    let helper = if is_root() { HelperProcess::user(GREEDY) } else { HelperProcess::same() };
    let file = fixtures::file_saying("x");
    let descriptors = vec![file.as_fd(); 253];
    // The head of a message of 64 KiB that announces as many.
    let mut head = vec![64, 0, 253, 0];
    head.extend(65536_i32.to_ne_bytes());
    let mut hoarders: Vec<Peer> = Vec::new();
    for _ in 0..60 {
        let mut peer = helper.connect(&daemon);
        // It fails on connections that were refused by then.
        let _ = peer.try_send(&head, &descriptors);
        hoarders.push(peer);
        let held = daemon.descriptors().worker - before.worker;
        assert!(held < 1500, "{held} of 4096 descriptors are held by one user");
    }
    if is_root() {
        daemon.connect().is_served((1, 9));
    } else {
        skip("another user beside the one who hoards", "only root can become others");
    }
    drop(hoarders);
    daemon.wait_for_descriptors(before);
}

#[test]
fn those_who_gave_up_waiting_for_a_serial_tag_leave_nothing_behind() {
    let daemon =
        Daemon::with_policy(&fixtures::serial()).setting("max_connections_per_uid = 1000").start();
    let mut owner = daemon.connect();
    owner.add(SLOT, "x").done();
    let before = daemon.descriptors();
    for _ in 0..300 {
        let mut waiter = daemon.connect();
        waiter.send(&request::get(SLOT), &[]);
    }
    // One that still waits is the last that may be remembered.
    let waiter = daemon.connect();
    wait_until("only the owner and the last of those who gave up are remembered", || {
        daemon.descriptors().worker <= before.worker + 6
    });
    drop((waiter, owner));
}

#[test] // attack 17, while the broker waits for something else
fn a_lingering_socket_that_was_deposited_and_deleted_leaves_the_supervisor_nothing() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    let mut others = Vec::new();
    for _ in 0..20 {
        let (held, other_end) = fixtures::full_and_lingering(LINGER);
        peer.send(&request::add(SLOT, 3, b""), &[held.as_fd()]);
        drop(held);
        peer.answer().done();
        peer.del(SLOT).done();
        peer.add_descriptor((1, 2), fixtures::file_saying("x"), "").done();
        peer.del((1, 2)).done();
        others.push(other_end);
    }
    let start = Instant::now();
    daemon.wait_for_descriptors(before);
    assert!(start.elapsed() < PATIENCE, "closing waited for those who do not read");
}

#[test] // attack 17, inside a Unix socket: only the last close sleeps, and that is the supervisor's
fn what_the_supervisor_has_not_closed_yet_stays_on_its_owners_account() {
    let daemon = Daemon::with_policy(&fixtures::accepting(r#"["unix", "none"]"#))
        .setting("max_slots_per_uid = 4")
        .start();
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    let mut pipes: Vec<_> = (0..4).map(|_| HeldPipe::new()).collect();
    for pipe in &mut pipes {
        let (outer, inner) = UnixStream::pair().unwrap();
        sys::send(&outer, b"x", &[pipe.take().as_fd()]).unwrap();
        peer.send(&request::add(SLOT, 3, b""), &[inner.as_fd()]);
        drop((outer, inner));
        peer.answer().done();
        peer.del(SLOT).done();
    }
    assert_eq!(peer.add(SLOT, "x").errno(), libc::EDQUOT);
    drop(pipes);
    wait_until("all have been closed, and the account is free again", || {
        peer.add(SLOT, "x").errno() == 0
    });
    peer.del(SLOT).done();
    daemon.wait_for_descriptors(before);
}

#[test]
fn a_waiter_that_sent_much_ahead_and_leaves_is_noticed() {
    let daemon =
        Daemon::with_policy(&fixtures::serial()).setting("max_connections_per_uid = 2").start();
    let mut owner = daemon.connect();
    owner.add(SLOT, "x").done();
    let mut waiter = daemon.connect();
    waiter.send(&request::get(SLOT).repeat(2000), &[]);
    drop(waiter);
    wait_until("the place of the waiter that left is free", || {
        let mut newcomer = daemon.connect();
        // It fails where the broker has turned this connection away already.
        let _ = newcomer.try_send(&request::get((7, 0)), &[]);
        newcomer.try_answer().is_ok_and(|answer| answer.errno() == libc::EACCES)
    });
}

#[test]
fn what_a_waiter_sent_ahead_is_served_when_its_turn_comes() {
    let daemon = Daemon::with_policy(&fixtures::serial()).start();
    let mut owner = daemon.connect();
    owner.add(SLOT, "x").done();
    let mut waiter = daemon.connect();
    waiter.send(&request::get(SLOT).repeat(2000), &[]);
    assert!(!waiter.is_answered(Duration::from_millis(200)), "served before its turn");
    drop(owner);
    for number in 0..2000 {
        assert_eq!(waiter.answer().payload(), b"x", "answer {number}");
    }
}
