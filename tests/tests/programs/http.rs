//! The HTTP server of `examples/`: upgraded again and again under load, and nobody notices.

use std::time::Duration;

use fdbroker_tests::load::{Clients, Kept, Load, percentile};
use fdbroker_tests::{Daemon, Example, fixtures, wait_until};

/// The tag of the example.
const TAG: i16 = 2;

const UPGRADES: usize = 200;
const CLIENTS: Clients = Clients { staying: 6, coming: 6, every: Duration::from_millis(12) };

#[test]
fn upgraded_two_hundred_times_under_load_it_fails_no_request_and_refuses_no_connection() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut server = Example::start(&daemon, "http");
    let address = server.address();
    let load = Load::start(address, CLIENTS);
    load.is_served_by(server.pid());
    for _ in 0..UPGRADES {
        let new = Example::start(&daemon, "http");
        assert_eq!(new.address(), address);
        load.is_served_by(new.pid());
        assert!(server.ends().success());
        server = new;
    }
    let mut results = load.end();
    assert_eq!(results.servers.len(), UPGRADES + 1);
    println!(
        "{} requests on {} connections; the slowest took {:?}",
        results.took.len(),
        results.connections,
        percentile(&mut results.took, 1.0),
    );
}

#[test]
fn a_connection_that_was_silent_over_many_upgrades_has_its_next_request_answered() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut first = Example::start(&daemon, "http");
    let mut silent = Kept::connect(first.address()).unwrap();
    let answer = silent.ask().unwrap();
    assert_eq!((answer.body, answer.closes), (first.pid().to_string(), false));
    let mut last = Example::start(&daemon, "http");
    for _ in 0..5 {
        let new = Example::start(&daemon, "http");
        assert!(last.ends().success(), "it had no connection to keep");
        last = new;
    }
    assert!(!first.has_ended());
    let answer = silent.ask().unwrap();
    assert_eq!((answer.body, answer.closes), (first.pid().to_string(), true));
    assert!(first.ends().success());
    let answer = Kept::connect(last.address()).unwrap().ask().unwrap();
    assert_eq!(answer.body, last.pid().to_string());
}

#[test]
fn a_broker_that_is_restarted_as_a_whole_keeps_no_upgrade_from_going_through() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let start = || Daemon::with_policy(&fixtures::open_at(TAG)).socket(path.clone()).start();
    let mut before = start();
    let mut first = Example::start(&before, "http");
    let load = Load::start(first.address(), CLIENTS);
    load.is_served_by(first.pid());
    before.kill_both();
    let after = start();
    wait_until("the listener is there again", || {
        fdbroker::Broker::connect_to(&path).unwrap().list(None).unwrap().len() == 1
    });
    let second = Example::start(&after, "http");
    assert_eq!(second.address(), first.address());
    load.is_served_by(second.pid());
    assert!(first.ends().success());
    assert_eq!(load.end().servers.len(), 2);
}
