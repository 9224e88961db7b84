//! A process in very many supplementary groups costs others nothing, and is told why it is not served.

use std::time::Duration;

use fdbroker_tests::hostile::{Attack, percentile};
use fdbroker_tests::{Daemon, HelperProcess, Ids, needs_root, request};

const ALICE: u32 = 64401;
const MALLORY: u32 = 64402;
const STAFF: u32 = 64450;
/// As docs/policy.md has it.
const MOST: u32 = 1024;
/// How long the attack, and alice's requests beside it, go on at most.
const NO_HANG: Duration = Duration::from_secs(60);

/// Alice and staff may use tag 1.
const POLICY: &str = r#"
[tags.first]
id = 1

[[rules]]
id = "staff"
allow = ["*"]
slots = ["first/*"]
group = 64450

[[rules]]
id = "alice"
allow = ["*"]
slots = ["first/*"]
user = 64401
"#;

/// Mallory, in so many groups; the last is staff.
fn mallory(number: u32) -> Ids {
    let groups = (0..number - 1).map(|group| 100_000 + group).chain([STAFF]).collect();
    Ids { uid: MALLORY, gid: MALLORY, groups }
}

#[test]
fn whoever_is_in_too_many_groups_is_told_so_and_not_served() {
    if !needs_root("very many groups") {
        return;
    }
    let daemon = Daemon::with_policy(POLICY).start();
    for number in [1, 64, 65, MOST] {
        let mut peer = HelperProcess::who_is(mallory(number)).connect(&daemon);
        assert_eq!(peer.get((1, 0)).errno(), libc::ENOENT, "in {number} groups");
    }
    for number in [MOST + 1, 65_536] {
        let mut peer = HelperProcess::who_is(mallory(number)).connect(&daemon);
        let answer = peer.answer();
        assert_eq!(answer.errno(), libc::EACCES);
        let told = format!("{answer:?}");
        assert!(told.contains(&format!("{number} supplementary groups")), "{told}");
        daemon.log().wait_for("the record says why", |line| {
            line.kind == "connection" && line.reason.contains(&number.to_string())
        });
    }
}

#[test]
fn the_same_group_65536_times_is_too_many_groups() {
    if !needs_root("very many groups") {
        return;
    }
    let daemon = Daemon::with_policy(POLICY).start();
    let ids = Ids { uid: MALLORY, gid: MALLORY, groups: vec![STAFF; 65_536] };
    assert_eq!(HelperProcess::who_is(ids).connect(&daemon).answer().errno(), libc::EACCES);
}

#[test]
fn another_writer_in_too_many_groups_is_refused() {
    if !needs_root("very many groups") {
        return;
    }
    let daemon = Daemon::with_policy(POLICY).start();
    let alice = HelperProcess::user(ALICE);
    let socket = alice.open_connection(daemon.socket()).unwrap().share().unwrap();
    assert_eq!(
        HelperProcess::who_is(mallory(MOST)).take_over(&socket).get((1, 0)).errno(),
        libc::ENOENT
    );
    for number in [MOST + 1, 65_536] {
        let mut writer = HelperProcess::who_is(mallory(number)).take_over(&socket);
        assert_eq!(writer.get((1, 0)).errno(), libc::EACCES, "in {number} groups");
    }
    let line = daemon.log().decisions().into_iter().next_back().unwrap();
    assert!(line.reason.contains("too many groups"), "{line:?}");
}

#[test]
fn others_are_served_while_65536_groups_connect_in_a_loop() {
    if !needs_root("very many groups") {
        return;
    }
    let daemon = Daemon::with_policy(POLICY).start();
    let held = HelperProcess::user(ALICE).open_connection(daemon.socket()).unwrap();
    let many = HelperProcess::who_is(mallory(65_536));
    let attack = many.attack(daemon.socket(), Attack::ConnectAndAsk, 1, NO_HANG).unwrap();
    let took = held.latencies(&request::get((1, 0)), 200, Duration::from_millis(1));
    let mut took = took.expect("alice is served");
    let served = attack.end().expect("the attack went on until alice was served");
    let (half, most) = (percentile(&mut took, 0.5), percentile(&mut took, 0.99));
    println!("p50/p99 in µs ({half}, {most}) during {served} connections");
}
