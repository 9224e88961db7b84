//! No user can keep the broker from serving another. Times are printed, and asserted only against
//! hangs: what they are worth depends on what else the machine does.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fdbroker_tests::helper_process::AttackUnderWay;
use fdbroker_tests::hostile::{Attack, percentile};
use fdbroker_tests::{Daemon, HelperProcess, needs_root, request, socket, turns, wait_until};

const ALICE: u32 = 64201;
const HOSTILE: [u32; 4] = [64211, 64212, 64213, 64214];
/// How many connections each hostile user has.
const CONNECTIONS: usize = 250;
/// How long 200 requests may take: a few milliseconds each would be one second. An attack goes on for as
/// long, or until they have been answered.
const NO_HANG: Duration = Duration::from_secs(60);

/// Alice may use tag 1; nobody else may do anything.
const POLICY: &str = r#"
[tags.first]
id = 1

[[rules]]
id = "alice"
allow = ["*"]
slots = ["first/*"]
user = 64201
"#;

fn daemon() -> Daemon {
    let daemon = Daemon::with_policy(POLICY).start();
    let mut alice = HelperProcess::user(ALICE).connect(&daemon);
    for index in 0..8 {
        alice.add((1, index), "alice's").done();
    }
    daemon
}

/// Alice is served while all that are hostile attack: on a connection that she has, and, where it
/// is `again` and again, on new ones.
#[track_caller]
fn alice_is_served_during(attack: Attack, hostile: &[u32]) {
    if !needs_root("users that attack") {
        return;
    }
    let _turn = turns::beside_others();
    let daemon = daemon();
    let alice = HelperProcess::user(ALICE);
    let held = alice.open_connection(daemon.socket()).unwrap();
    let get = request::get((1, 7));
    let mut alone = held.latencies(&get, 200, Duration::from_millis(1)).unwrap();
    let attackers: Vec<_> = hostile.iter().map(|uid| attacks(*uid, &daemon, attack)).collect();
    let (told, hears) = mpsc::channel();
    let socket = PathBuf::from(daemon.socket());
    let victim = thread::spawn(move || {
        let took = held.latencies(&get, 200, Duration::from_millis(1));
        let new: Vec<_> = (0..20)
            .map_while(|_| {
                alice.open_connection(&socket).ok()?.latencies(&get, 1, Duration::ZERO).ok()
            })
            .flatten()
            .collect();
        // Nobody hears when it took too long.
        let _ = told.send((took, new));
    });
    let (took, mut new) = hears.recv_timeout(NO_HANG).expect("alice waits for the hostile users");
    let mut took = took.unwrap();
    assert_eq!((took.len(), new.len()), (200, 20));
    victim.join().unwrap();
    let end = |attack: AttackUnderWay| attack.end().expect("it went on until alice was served");
    let served: u64 = attackers.into_iter().map(end).sum();
    let of = |took: &mut [u32]| (percentile(took, 0.5), percentile(took, 0.99));
    let (alone, took, new) = (of(&mut alone), of(&mut took), of(&mut new));
    println!(
        "{attack:?} by {}: p50/p99 in µs alone {alone:?}, attacked {took:?}, on a new connection \
         {new:?}; the hostile had {served}",
        hostile.len()
    );
}

fn attacks(uid: u32, daemon: &Daemon, attack: Attack) -> AttackUnderWay {
    let begun = HelperProcess::user(uid).attack(daemon.socket(), attack, CONNECTIONS, NO_HANG);
    begun.expect("the attack begins")
}

#[test]
fn connecting_in_a_loop_keeps_nobody_waiting() {
    alice_is_served_during(Attack::ConnectAndClose, &HOSTILE[..1]);
    alice_is_served_during(Attack::ConnectAndClose, &HOSTILE);
    alice_is_served_during(Attack::ConnectAndAsk, &HOSTILE);
}

#[test]
fn a_flood_of_single_requests_keeps_nobody_waiting() {
    alice_is_served_during(Attack::Get, &HOSTILE[..1]);
    alice_is_served_during(Attack::Get, &HOSTILE);
}

#[test]
fn a_flood_of_bulk_requests_keeps_nobody_waiting() {
    alice_is_served_during(Attack::GetMany, &HOSTILE[..1]);
    alice_is_served_during(Attack::GetMany, &HOSTILE);
}

#[test]
fn a_flood_of_listings_keeps_nobody_waiting() {
    alice_is_served_during(Attack::List, &HOSTILE[..1]);
    alice_is_served_during(Attack::List, &HOSTILE);
}

#[test]
fn a_flood_of_unknown_names_keeps_nobody_waiting() {
    alice_is_served_during(Attack::Find, &HOSTILE[..1]);
    alice_is_served_during(Attack::Find, &HOSTILE);
}

#[test]
fn a_flood_of_status_requests_keeps_nobody_waiting() {
    alice_is_served_during(Attack::Status, &HOSTILE[..1]);
    alice_is_served_during(Attack::Status, &HOSTILE);
}

#[test]
fn a_flood_by_other_writers_keeps_nobody_waiting() {
    alice_is_served_during(Attack::GetByAnother, &HOSTILE[..1]);
    alice_is_served_during(Attack::GetByAnother, &HOSTILE);
}

#[test]
fn connections_that_were_left_do_not_count() {
    let _turn = turns::beside_others();
    let daemon = Daemon::open().start();
    for round in 0..3 {
        for _ in 0..300 {
            drop(socket::connected(daemon.socket(), None).unwrap());
        }
        assert_eq!(daemon.connect().get((1, 0)).errno(), libc::ENOENT, "round {round}");
    }
}

#[test]
fn sessions_that_were_left_are_ended_before_anybody_is_refused() {
    // A process that another test starts has a duplicate of each socket for a moment: then nobody has left.
    let _turn = turns::alone();
    let daemon = Daemon::open().setting("max_connections_per_uid = 32").start();
    for round in 0..20 {
        let mut held: Vec<_> = (0..32).map(|_| daemon.connect()).collect();
        for peer in &mut held {
            assert_eq!(peer.get((1, 0)).errno(), libc::ENOENT);
        }
        assert_eq!(daemon.connect().answer().errno(), libc::EDQUOT, "the limit holds");
        drop(held);
        assert_eq!(daemon.connect().get((1, 0)).errno(), libc::ENOENT, "round {round}");
    }
    wait_until("the sessions have ended", || daemon.descriptors().worker < 64);
}
