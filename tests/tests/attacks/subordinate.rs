//! A person who is many users by /etc/subuid, and users who have all connections together.

use std::time::{Duration, Instant};

use fdbroker_tests::{Builder, Daemon, HelperProcess, Peer, needs_root, request, wait_until};

const MALLORY: u32 = 64501;
const BOB: u32 = 64502;
/// Of Mallory's ids the first.
const FIRST: u32 = 3_000_000;
/// How many of them take part.
const IDS: u32 = 60;
const RANGES: &str = "64501:3000000:65536\n";

/// A broker for whom the ids of these lines are subordinate ones.
fn with_ranges(lines: &str) -> Builder {
    let builder = Daemon::open();
    let file = builder.directory().file("subuid", lines, 0o644);
    builder.argument("--subuid").argument(file)
}

/// The connection of a user, if it is served.
fn connected(daemon: &Daemon, uid: u32) -> Option<Peer> {
    let mut peer = HelperProcess::user(uid).connect(daemon);
    // One that is turned away may be closed already.
    let _ = peer.try_send(&request::get((1, 0)), &[]);
    (peer.answer().errno() == libc::ENOENT).then_some(peer)
}

/// The connections of Mallory's ids that are served.
fn of_mallorys_ids(daemon: &Daemon) -> Vec<Peer> {
    (FIRST..FIRST + IDS).filter_map(|uid| connected(daemon, uid)).collect()
}

#[test]
fn a_user_with_many_subordinate_ids_leaves_others_connections() {
    if !needs_root("subordinate ids") {
        return;
    }
    let few = "max_connections = 40\nmax_connections_per_uid = 10";
    let daemon = with_ranges(RANGES).setting(few).start();
    let held = of_mallorys_ids(&daemon);
    assert!(connected(&daemon, BOB).is_some(), "the ids have {} connections", held.len());
    assert_eq!(held.len(), 10);
    assert!(connected(&daemon, MALLORY).is_none(), "what they have counts as Mallory's");
    drop(held);
    wait_until("nothing counts any more", || connected(&daemon, MALLORY).is_some());
}

#[test]
fn subordinate_ids_share_their_owners_quota_of_deposits_also_after_a_restart() {
    if !needs_root("subordinate ids") {
        return;
    }
    let daemon = with_ranges(RANGES).setting("max_slots_per_uid = 2").start();
    let add = |uid, place| match HelperProcess::user(uid).connect(&daemon).add(place, "x") {
        answer if answer.errno() == 0 => true,
        answer => {
            assert_eq!(answer.errno(), libc::EDQUOT);
            false
        }
    };
    assert!(add(FIRST, (1, 1)) && add(FIRST + 1, (1, 2)));
    assert!(!add(FIRST + 2, (1, 3)) && !add(MALLORY, (1, 3)));
    daemon.kill_worker();
    assert!(!add(FIRST + 3, (1, 3)));
    assert!(add(BOB, (1, 3)));
    let by_themselves = |uid| daemon.log().decisions().iter().any(|line| line.uid == uid);
    assert!(by_themselves(FIRST) && by_themselves(FIRST + 1), "records have the id itself");
}

#[test]
fn ids_of_a_system_users_range_count_as_one_user_and_not_as_that() {
    if !needs_root("subordinate ids") {
        return;
    }
    let few = "max_connections = 40\nmax_connections_per_uid = 10";
    let daemon = with_ranges("root:3000000:65536\n").setting(few).start();
    assert_eq!(of_mallorys_ids(&daemon).len(), 10);
    assert!(connected(&daemon, 0).is_some());
}

#[test]
fn ranges_are_read_again_with_the_policy_and_stay_if_they_cannot_be_read() {
    if !needs_root("subordinate ids") {
        return;
    }
    let few = "max_connections = 40\nmax_connections_per_uid = 10";
    let daemon = with_ranges("").setting(few).start();
    let file = daemon.directory().join("subuid");
    assert!(of_mallorys_ids(&daemon).len() > 30, "each counts as a user of its own");
    std::fs::write(&file, RANGES).unwrap();
    daemon.reload_files();
    let are_ten = || of_mallorys_ids(&daemon).len() == 10;
    wait_until("those of before are gone", are_ten);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    daemon.reload_files();
    assert!(daemon.log().text().contains("what was read before holds"));
    wait_until("those of before are gone", are_ten);
}

#[test]
fn while_ranges_cannot_be_read_high_ids_count_as_one_user() {
    if !needs_root("subordinate ids") {
        return;
    }
    let few = "max_connections = 40\nmax_connections_per_uid = 10";
    let builder = Daemon::open().argument("--subuid").argument("/proc").setting(few);
    let daemon = builder.start();
    let log = daemon.log().text();
    assert!(log.contains("cannot read which user ids belong to whom"), "{log}");
    assert_eq!(of_mallorys_ids(&daemon).len(), 10);
    assert!(connected(&daemon, BOB).is_some());
}

#[test]
fn what_is_refused_to_subordinate_ids_has_their_owners_rate_of_records() {
    if !needs_root("subordinate ids") {
        return;
    }
    let daemon = with_ranges(RANGES).policy(NOTHING).setting("records_per_second = 5").start();
    let peers: Vec<_> =
        (FIRST..FIRST + 20).map(|uid| HelperProcess::user(uid).connect(&daemon)).collect();
    let began = Instant::now();
    for mut peer in peers {
        assert_eq!(peer.get((1, 0)).errno(), libc::EACCES);
    }
    if began.elapsed() > Duration::from_secs(1) {
        return fdbroker_tests::skip("20 refusals in a second", "this machine is too slow now");
    }
    let of_their_own = daemon.log().decisions().iter().filter(|line| line.uid >= FIRST).count();
    assert!(of_their_own <= 5 + 5, "{of_their_own}");
}

const NOTHING: &str = "[tags.first]\nid = 1\n";

#[test]
fn many_users_with_many_connections_leave_some_to_others() {
    if !needs_root("other users") {
        return;
    }
    let few = "max_connections = 40\nmax_connections_per_uid = 10";
    let daemon = Daemon::open().setting(few).start();
    let mut held = Vec::new();
    for uid in 64510..64514 {
        held.extend((0..10).map_while(|_| connected(&daemon, uid)));
    }
    assert_eq!(held.len(), 35, "an eighth is kept");
    for _ in 0..2 {
        held.push(connected(&daemon, BOB).expect("one with few connections is served"));
    }
    assert!(connected(&daemon, BOB).is_none());
    let reason = daemon.log().wait_for("it is recorded", |line| line.kind == "connection").reason;
    assert!(reason.contains("users with fewer than 2"), "{reason}");
    assert!(connected(&daemon, MALLORY).is_some());
}
