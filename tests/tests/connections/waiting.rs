//! Callers that wait for a connection: they leave, or the policy changes before they have it.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use fdbroker::Broker;
use fdbroker_tests::{Daemon, Peer, fixtures, request, wait_until};

use crate::resource::{SLOT, auth, connecting, connection, tcp};

const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
const ONE: &str = "holders = 1\nwait = \"1h\"";

/// A policy whose connection has these terms, and a device beside it.
fn with_device(address: &str, terms: &str) -> String {
    format!("{}\n{}", connecting(address, terms), without_connection(""))
}

/// What is beside the connection, after the start of a policy.
fn without_connection(start: &str) -> String {
    let null = "[resources.null]\nslot = \"open/8\"\ndevice = \"/dev/null\"\n";
    format!("{start}\n{null}\n{OPERATORS}")
}

/// A server that accepts and says nothing, and its address.
fn silent() -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp(server.local_addr().unwrap().port());
    (server, address)
}

/// A peer whose request for the connection has been read.
fn waits(daemon: &Daemon) -> Peer {
    let mut peer = daemon.connect();
    peer.send_and_be_read(&request::get(SLOT));
    peer
}

fn leases(daemon: &Daemon) -> Vec<u64> {
    let told = Broker::connect_to(daemon.socket()).unwrap().leases().unwrap();
    let number = |line: &str| line.strip_prefix("lease=")?.split(' ').next()?.parse().ok();
    told.lines().filter_map(number).collect()
}

#[track_caller]
fn end_the_only_lease(daemon: &Daemon) {
    let [lease] = leases(daemon)[..] else { panic!("{:?}", leases(daemon)) };
    Broker::connect_to(daemon.socket()).unwrap().end_lease(lease).unwrap();
}

fn port_of(stream: &TcpStream) -> String {
    tcp(stream.peer_addr().unwrap().port())
}

#[test]
fn callers_that_leave_while_they_wait_for_a_place_keep_nothing_from_their_user() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let policy = with_device(&tcp(port), "holders = 1\nwait = \"1h\"");
    let daemon = Daemon::open().policy(&policy).start();
    let _held = connection(daemon.connect().get(SLOT), &daemon);
    let mut leave: Vec<_> = (0..8).map(|_| daemon.connect()).collect();
    leave.iter_mut().for_each(|peer| peer.send_and_be_read(&request::get(SLOT)));
    let mut other = daemon.connect();
    assert_eq!(other.get((1, 8)).errno(), libc::EBUSY, "so many wait at once");
    drop(leave);
    wait_until("a device is opened again", || other.get((1, 8)).errno() == 0);
}

#[test]
fn callers_that_leave_while_a_server_says_nothing_keep_no_helper_and_no_place() {
    let (_server, address) = silent();
    let builder = Daemon::open();
    let password = builder.directory().private_file("password", "hunter2");
    let terms = format!("{}\nholders = 8\nwait = \"1h\"", auth(&password, ""));
    let policy = with_device(&address, &terms).replace("\"30s\"", "\"1h\"");
    let daemon = builder.policy(&policy).start();
    let leave: Vec<_> = (0..8).map(|_| waits(&daemon)).collect();
    let helpers = |number: usize| {
        let status = daemon.says(&["status"]);
        status.lines().any(|line| line == format!("helpers={number}"))
    };
    // The last place is for users who have fewer than two.
    wait_until("as many helpers as there may be for one user are at work", || helpers(7));
    let mut other = daemon.connect();
    assert_eq!(other.get((1, 8)).errno(), libc::EBUSY, "so many are opened at once");
    drop(leave);
    wait_until("a device is opened again", || other.get((1, 8)).errno() == 0);
    wait_until("the helpers have ended", || helpers(0));
    // The places are free, and nobody has failed.
    let again: Vec<_> = (0..7).map(|_| waits(&daemon)).collect();
    wait_until("others have the places", || helpers(7));
    drop(again);
    assert!(!daemon.log().text().contains("ended without an answer"), "{}", daemon.log().text());
}

#[test]
fn a_caller_that_waits_is_decided_again_when_its_connection_leads_elsewhere() {
    let ((_old, before), (_new, after)) = (silent(), silent());
    let daemon = Daemon::open().policy(&with_device(&before, ONE)).start();
    let _held = connection(daemon.connect().get(SLOT), &daemon);
    let mut next = waits(&daemon);
    daemon.reload(&with_device(&after, ONE));
    assert!(!next.answers_within(std::time::Duration::from_millis(200)), "the place is taken");
    end_the_only_lease(&daemon);
    let (stream, _) = connection(next.answer(), &daemon);
    assert_eq!(port_of(&stream), after);
}

#[test]
fn a_reload_that_leaves_the_resource_as_it_is_changes_nothing_for_those_who_wait() {
    let (_server, address) = silent();
    let policy = with_device(&address, ONE);
    let daemon = Daemon::open().policy(&policy).start();
    let _held = connection(daemon.connect().get(SLOT), &daemon);
    let (mut first, mut second) = (waits(&daemon), waits(&daemon));
    daemon.reload(&format!("{policy}\n[tags.another]\nid = 9\n"));
    end_the_only_lease(&daemon);
    let _first = connection(first.answer(), &daemon);
    end_the_only_lease(&daemon);
    connection(second.answer(), &daemon);
}

#[test]
fn a_caller_that_waits_is_refused_when_its_right_or_the_resource_is_gone() {
    let (_server, address) = silent();
    let policy = with_device(&address, ONE);
    let without_right = policy.replace("slots = [\"*\"]", "slots = [\"open/8\"]");
    for changed in [without_right, without_connection(fixtures::OPEN)] {
        let daemon = Daemon::open().policy(&policy).start();
        let _held = connection(daemon.connect().get(SLOT), &daemon);
        let mut next = waits(&daemon);
        daemon.reload(&changed);
        let errno = next.answer().errno();
        assert!(matches!(errno, libc::EACCES | libc::ENOENT), "{errno}");
        end_the_only_lease(&daemon);
    }
}

#[test]
fn a_caller_whose_right_runs_out_while_it_waits_is_refused() {
    let (_server, address) = silent();
    let soon = Command::new("date").args(["-u", "-d", "+3 seconds", "+%FT%TZ"]).output().unwrap();
    let soon = format!("anyone = true\nvalid_until = {}", text(&soon.stdout));
    let policy = with_device(&address, ONE).replacen("anyone = true", &soon, 1);
    let daemon = Daemon::open().policy(&policy).start();
    let _held = connection(daemon.connect().get(SLOT), &daemon);
    let mut next = waits(&daemon);
    wait_until("its right has run out", || daemon.connect().get((1, 8)).errno() == libc::EACCES);
    end_the_only_lease(&daemon);
    assert_eq!(next.answer().errno(), libc::EACCES);
    wait_until("what was made for it is closed", || leases(&daemon).is_empty());
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap().trim()
}

#[test]
fn a_caller_that_waits_has_a_place_as_soon_as_there_are_more() {
    let (_server, address) = silent();
    let daemon = Daemon::open().policy(&with_device(&address, ONE)).start();
    let _held = connection(daemon.connect().get(SLOT), &daemon);
    let mut next = waits(&daemon);
    daemon.reload(&with_device(&address, "holders = 2\nwait = \"1h\""));
    connection(next.answer(), &daemon);
    assert_eq!(leases(&daemon).len(), 2);
}

#[test]
fn those_who_wait_have_no_more_places_than_the_policy_has_by_then() {
    let (_server, address) = silent();
    let of = |holders: u32| with_device(&address, &format!("holders = {holders}\nwait = \"1h\""));
    let daemon = Daemon::open().policy(&of(2)).start();
    let _held: Vec<_> = (0..2).map(|_| connection(daemon.connect().get(SLOT), &daemon)).collect();
    let mut waiting: Vec<_> = (0..2).map(|_| waits(&daemon)).collect();
    daemon.reload(&of(1));
    let first = leases(&daemon)[0];
    Broker::connect_to(daemon.socket()).unwrap().end_lease(first).unwrap();
    wait_until("one has ended", || leases(&daemon).len() == 1);
    let within = std::time::Duration::from_millis(200);
    assert!(!waiting.iter_mut().any(|peer| peer.answers_within(within)));
    assert_eq!(leases(&daemon).len(), 1);
}

#[test]
fn places_stay_taken_while_the_policy_does_not_have_the_resource() {
    let (_server, address) = silent();
    let policy = with_device(&address, "holders = 1\nwait = \"100ms\"");
    let daemon = Daemon::open().policy(&policy).start();
    let _held = connection(daemon.connect().get(SLOT), &daemon);
    daemon.reload(&without_connection(fixtures::OPEN));
    daemon.reload(&policy);
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EBUSY);
    end_the_only_lease(&daemon);
    wait_until("the place is free", || daemon.connect().get(SLOT).errno() == 0);
}
