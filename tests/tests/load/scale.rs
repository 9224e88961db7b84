//! Many slots, many descriptors, many peers at once; and nothing left of them afterwards.

use std::os::fd::OwnedFd;

use fdbroker_tests::{Answer, Daemon, Peer, fixtures, process, skip, sys, turns};

const PAYLOADS: i32 = 10_000;
const DESCRIPTORS: i32 = 5_000;
const PEERS: usize = 500;
/// Where the descriptors' slots begin.
const BASE: i32 = 1_000_000;

/// How many descriptors the limits of this machine allow, both here and in the daemon.
fn possible(wanted: i32) -> i32 {
    let limit = i32::try_from(sys::raise_descriptors()).unwrap_or(i32::MAX);
    // Beside the deposits, each peer takes two in the worker.
    let room = limit.saturating_sub(2 * i32::try_from(PEERS).unwrap() + 100);
    if room < wanted {
        skip(&format!("{wanted} descriptors"), &format!("RLIMIT_NOFILE {limit} allows {room}"));
    }
    wanted.min(room)
}

fn daemon() -> Daemon {
    let builder = Daemon::open().setting("max_connections_per_uid = 1000");
    builder.setting("max_slots_per_uid = 20000").start()
}

fn eventfd() -> OwnedFd {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap()
}

#[test]
fn memory_that_many_deposits_had_is_given_back_although_something_behind_them_stays() {
    const MANY: i32 = 1200;
    let _turn = turns::beside_others();
    let daemon = daemon();
    let mut peer = daemon.connect();
    peer.add((1, 0), "so that everything has been used once").done();
    let memory =
        || [daemon.supervisor_pid(), daemon.worker_pid()].map(|pid| process::memory(pid, "VmRSS"));
    let before = memory();
    (1..=MANY).for_each(|index| peer.add((1, index), [7; 32_000]).done());
    peer.add((1, MANY + 1), "stays").done();
    let full = memory();
    assert!(full.iter().zip(before).all(|(full, before)| *full > before + (30 << 20)), "{full:?}");
    (1..=MANY).for_each(|index| peer.del((1, index)).done());
    fdbroker_tests::wait_until("both are as small as before", || {
        memory().iter().zip(before).all(|(now, before)| *now < before + (12 << 20))
    });
}

#[test]
fn ten_thousand_payloads_five_thousand_descriptors_and_five_hundred_peers_at_once() {
    let _turn = turns::beside_others();
    let descriptors = possible(DESCRIPTORS);
    let daemon = daemon();
    let mut first = daemon.connect();
    let before = daemon.descriptors_with(&mut first);
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| daemon.connect()).collect();
    let mut next = 0;
    let mut peer = |peers: &mut Vec<Peer>| {
        next = (next + 1) % peers.len();
        next
    };
    for index in 0..PAYLOADS {
        let at = peer(&mut peers);
        peers[at].add((1, index), format!("payload {index}")).done();
    }
    for index in 0..descriptors {
        let at = peer(&mut peers);
        peers[at].add_descriptor((1, BASE + index), eventfd(), index.to_ne_bytes()).done();
    }
    let deposits = usize::try_from(descriptors).unwrap();
    // Both have a copy of each; the supervisor may take its own a little later.
    fdbroker_tests::wait_until("each deposit is held twice", || {
        let full = daemon.descriptors();
        full.worker >= before.worker + deposits && full.supervisor >= before.supervisor + deposits
    });

    all_are_there(&mut peers, descriptors);
    let Answer::Info { used, .. } = first.tag(1) else { panic!("no INF") };
    assert_eq!(used, BASE + descriptors);

    for index in (0..PAYLOADS).chain(BASE..BASE + descriptors) {
        let at = peer(&mut peers);
        peers[at].del((1, index)).done();
    }
    drop(peers);
    let Answer::Info { used: 0, total: 0 } = first.tag(1) else { panic!("the tag is not empty") };
    daemon.wait_for_descriptors(before);
}

fn all_are_there(peers: &mut [Peer], descriptors: i32) {
    let count = peers.len();
    for index in 0..PAYLOADS {
        let peer = &mut peers[usize::try_from(index).unwrap() % count];
        assert_eq!(peer.get((1, index)).payload(), format!("payload {index}").into_bytes());
    }
    for index in 0..descriptors {
        let peer = &mut peers[usize::try_from(index).unwrap() % count];
        match peer.get((1, BASE + index)) {
            Answer::Deposit { payload, descriptor: Some(_), .. } => {
                assert_eq!(payload, index.to_ne_bytes());
            }
            other => panic!("{index}: {other:?}"),
        }
    }
}

#[test]
fn all_of_them_are_given_to_the_next_worker() {
    let _turn = turns::beside_others();
    let descriptors = possible(2_000);
    let daemon = daemon();
    let mut peer = daemon.connect();
    for index in 0..PAYLOADS {
        peer.add((1, index), format!("payload {index}")).done();
    }
    for index in 0..descriptors {
        let file = fixtures::file_saying(&index.to_string());
        peer.add_descriptor((1, BASE + index), file, index.to_ne_bytes()).done();
    }
    daemon.kill_worker();
    let mut peers: Vec<Peer> = (0..10).map(|_| daemon.connect()).collect();
    all_are_there(&mut peers, descriptors);
    let content = fixtures::content(peers[0].get((1, BASE + 77)).descriptor());
    assert_eq!(content, "77");
}

#[test]
fn five_hundred_peers_ask_at_the_same_time_and_all_are_answered() {
    let _turn = turns::beside_others();
    let _ = possible(0);
    let daemon = daemon();
    daemon.connect().add_descriptor((1, 0), fixtures::file_saying("x"), "payload").done();
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| daemon.connect()).collect();
    for _ in 0..5 {
        peers.iter_mut().for_each(|peer| peer.send(&fdbroker_tests::request::get((1, 0)), &[]));
        for peer in &mut peers {
            peer.answer().descriptor();
        }
    }
}
