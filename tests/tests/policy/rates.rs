//! `requests_per_second`, of the broker and of a rule: a user who asks faster waits, and nobody
//! else does.

use std::time::{Duration, Instant};

use fdbroker_tests::hostile::Attack;
use fdbroker_tests::{
    Daemon, HelperProcess, PATIENCE, Peer, fixtures, needs_root, request, wait_for,
};

const ALICE: u32 = 64501;
const BOB: u32 = 64502;

/// How long so many GETs take, all sent at once.
fn time_of(peer: &mut Peer, number: usize) -> Duration {
    let began = Instant::now();
    peer.send(&request::get((1, 0)).repeat(number), &[]);
    for _ in 0..number {
        assert_eq!(peer.answer().errno(), libc::ENOENT, "paced, and not refused");
    }
    began.elapsed()
}

#[test]
fn whoever_asks_faster_than_the_broker_allows_waits() {
    // Had they to wait, they would each time.
    let (daemon, mut peer, began) = wait_for("a second's worth is answered at once", || {
        let daemon = Daemon::open().setting("requests_per_second = 20").start();
        let (mut peer, began) = (daemon.connect(), Instant::now());
        let at_once = time_of(&mut peer, 20) < Duration::from_millis(900);
        at_once.then_some((daemon, peer, began))
    });
    // 50 in all are due in a second and a half, on whichever connection.
    time_of(&mut peer, 20);
    time_of(&mut daemon.connect(), 10);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1400), "{took:?}");
}

#[test]
fn whoever_asks_faster_than_a_rule_allows_waits() {
    let policy = format!("{}requests_per_second = 20\n", fixtures::OPEN);
    let daemon = Daemon::with_policy(&policy).start();
    let mut peer = daemon.connect();
    let took = time_of(&mut peer, 50);
    assert!(took > Duration::from_secs(1), "{took:?}");
}

#[test]
fn an_answer_that_is_held_back_is_decided_again_when_the_policy_changes() {
    let rule = fixtures::OPEN.replace("anyone = true", "anyone = true\nrequests_per_second = 1");
    let operators = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
    let policy = |rule: &str| format!("{rule}\n{operators}");
    let daemon = Daemon::with_policy(&policy(fixtures::OPEN)).start();
    for index in 0..3 {
        daemon.connect().add((1, index), "kept").done();
    }
    daemon.reload(&policy(&rule));
    let mut one = daemon.connect();
    // The first second's worth comes at once.
    one.send(&request::get((1, 0)).repeat(4), &[]);
    assert_eq!(one.answer().errno(), 0);
    daemon.reload(&policy(&rule.replace("[\"*\"]\nslots", "[\"list\"]\nslots")));
    let answers: Vec<_> = (0..3).map(|_| one.answer().errno()).collect();
    assert_eq!(answers, [libc::EACCES; 3]);
}

#[test]
fn many_slots_at_once_count_as_many_requests() {
    let rule = format!("{}requests_per_second = 100\n", fixtures::OPEN);
    let of_rule = Daemon::with_policy(&rule);
    let of_broker = Daemon::open().setting("requests_per_second = 100");
    for builder in [of_rule, of_broker] {
        let daemon = builder.start();
        let mut peer = daemon.connect();
        let began = Instant::now();
        peer.send(&request::hello(), &[]);
        peer.receive().unwrap();
        peer.send(&Attack::GetMany.bytes(), &[]);
        peer.receive().unwrap();
        let took = began.elapsed();
        assert!(took > Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn a_user_who_waits_for_a_rate_keeps_nobody_else_waiting() {
    if !needs_root("two users") {
        return;
    }
    let daemon = Daemon::open().setting("requests_per_second = 2").start();
    let mut alice = HelperProcess::user(ALICE).connect(&daemon);
    // The last is due in a minute.
    alice.send(&request::get((1, 0)).repeat(120), &[]);
    let mut bob = HelperProcess::user(BOB).connect(&daemon);
    assert!(time_of(&mut bob, 2) < PATIENCE);
    drop(alice);
    // What waits notices that its peer has left.
    daemon.connect().is_served((1, 0));
}
