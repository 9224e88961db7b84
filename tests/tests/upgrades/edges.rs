//! The edges of upgrades, with real processes that fail, hang, are many or are of another version.
//! Every deposit is there afterwards, and one process owns it. What a killed broker does to each
//! step of an upgrade is in `processes.rs`; here it is killed at any moment.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fdbroker_tests::load::{Clients, Load};
use fdbroker_tests::upgraded_process::UpgradedProcess;
use fdbroker_tests::{Daemon, Example, HelperProcess, request, wait_until};
use rustix::process::Signal;

const POLICY: &str = r#"
[tags.web]
id = 10

[[rules]]
id = "everyone"
allow = ["*"]
slots = ["*"]
anyone = true
"#;

/// The tag of the processes under test.
const WEB: i16 = 10;
/// Whether it is serial.
const BOTH: [bool; 2] = [false, true];

/// Long enough to see that no answer comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(200);

fn daemon(serial: bool) -> Daemon {
    let policy = POLICY.replace("id = 10", &format!("id = 10\nserial = {serial}"));
    Daemon::with_policy(&policy).start()
}

/// A process that wants to take over, as the owner has heard.
#[track_caller]
fn claimant(daemon: &Daemon, options: &str, owner: &mut UpgradedProcess) -> UpgradedProcess {
    let mut new = UpgradedProcess::new();
    new.begin(daemon, options);
    assert_eq!(owner.ask("next"), format!("claimed {}", new.pid()));
    new
}

/// It owns the tag: what it stores is there at once.
#[track_caller]
fn goes_on(owner: &mut UpgradedProcess) {
    owner.ask("store what goes-on");
    assert_eq!(owner.ask("stored what"), "goes-on");
}

#[test]
fn a_process_that_fails_before_it_is_ready_leaves_everything_as_it_was() {
    for (serial, mode) in [(false, "live"), (false, "quiesced"), (true, "live"), (true, "quiesced")]
    {
        let daemon = daemon(serial);
        let mut old = UpgradedProcess::serving(&daemon);
        let mut new = claimant(&daemon, mode, &mut old);
        if mode == "quiesced" {
            old.ask("release");
        }
        assert_eq!(new.answer(), "1");
        new.ask("store more of-the-new-one");
        assert_eq!(new.ask("remove what"), "true");
        assert_eq!(old.fails("store what changed"), "InProgress");
        new.kill();
        assert_eq!(old.ask("next"), "withdrawn");
        assert_eq!(old.ask("names"), "what");
        assert_eq!(old.ask("stored what"), "it-was");
        goes_on(&mut old);
    }
}

#[test]
fn a_process_that_fails_before_the_owner_has_released_leaves_nothing_to_release() {
    let daemon = daemon(false);
    let mut old = UpgradedProcess::serving(&daemon);
    let mut new = claimant(&daemon, "quiesced", &mut old);
    new.kill();
    assert_eq!(old.ask("next"), "withdrawn");
    assert_eq!(old.fails("release"), "Unclaimed");
    goes_on(&mut old);
}

#[test]
fn a_process_that_was_given_up_is_told_so_and_changes_nothing_any_more() {
    for serial in BOTH {
        let daemon = daemon(serial);
        let mut old = UpgradedProcess::serving(&daemon);
        let mut new = claimant(&daemon, "live timeout=300", &mut old);
        new.answer();
        new.signal(Signal::STOP);
        assert_eq!(old.ask("next"), "withdrawn");
        goes_on(&mut old);
        new.signal(Signal::CONT);
        assert_eq!(new.fails("ready"), "TimedOut");
        assert_eq!(new.fails("store what late"), "TimedOut");
        assert_eq!(old.ask("stored what"), "goes-on");
    }
}

#[test]
fn an_owner_that_hangs_keeps_what_it_has_and_who_wants_it_gives_up() {
    let daemon = daemon(false);
    let mut old = UpgradedProcess::serving(&daemon);
    old.signal(Signal::STOP);
    let mut new = UpgradedProcess::new();
    new.begin(&daemon, "quiesced patience=300");
    assert_eq!(new.failure(), "TimedOut");
    old.signal(Signal::CONT);
    goes_on(&mut old);
}

#[test]
fn of_three_at_once_each_takes_over_from_the_one_before_and_who_fails_is_passed_over() {
    for serial in BOTH {
        let daemon = daemon(serial);
        let mut old = UpgradedProcess::serving(&daemon);
        let mut first = claimant(&daemon, "live", &mut old);
        first.answer();
        let [mut second, mut third] = [UpgradedProcess::new(), UpgradedProcess::new()];
        for waiting in [&mut second, &mut third] {
            waiting.begin(&daemon, "live");
            assert!(waiting.is_silent(MEANWHILE), "two take over at the same time");
        }
        first.ask("store what first");
        first.ask("ready");
        old.ask("complete");
        assert_eq!(old.fails("store what late"), "Completed");
        second.answer();
        assert_eq!(second.ask("stored what"), "first");
        assert!(third.is_silent(MEANWHILE), "two take over at the same time");
        second.kill();
        third.answer();
        assert_eq!(third.ask("stored what"), "first");
        third.ask("ready");
        first.ask("complete");
        goes_on(&mut third);
    }
}

#[test]
fn more_sockets_than_one_message_holds_go_from_process_to_process() {
    const MANY: usize = 600;
    let daemon = daemon(false);
    let orders: Vec<_> = (0..MANY).map(|number| format!("listen {number} 127.0.0.1:0")).collect();
    let mut old = UpgradedProcess::started(&daemon, "live");
    let addresses: Vec<_> = orders.iter().map(|order| old.ask(order)).collect();
    old.ask("ready");
    let mut new = claimant(&daemon, "live", &mut old);
    assert_eq!(new.answer(), MANY.to_string());
    for (order, address) in orders.iter().zip(&addresses) {
        assert_eq!(&new.ask(order), address);
    }
    new.ask("ready");
    old.ask("complete");
    old.kill();
    for address in &addresses {
        TcpStream::connect(address).expect("it listens all the time");
    }
}

#[test]
fn a_broker_that_was_restarted_as_a_whole_leaves_the_old_one_serving_also_if_another_is_faster() {
    let directory = tempfile::tempdir().unwrap();
    let start = || Daemon::with_policy(POLICY).socket(directory.path().join("socket")).start();
    let mut before = start();
    let mut old = UpgradedProcess::started(&before, "live");
    old.ask("listen http 127.0.0.1:0");
    old.ask("ready");
    let mut new = claimant(&before, "live", &mut old);
    assert_eq!(new.answer(), "1", "it has inherited the socket");
    old.signal(Signal::STOP);
    before.kill_both();
    let after = start();
    wait_until("the claimant is faster", || after.log().text().contains("claim"));
    old.signal(Signal::CONT);
    old.order("next");
    assert!(
        old.is_silent(MEANWHILE),
        "the claimant owns a tag that holds nothing, and does not serve"
    );
    assert_eq!(new.fails("ready"), "Changed");
    new.ask("drop");
    assert_eq!(old.answer(), "withdrawn", "its socket is there again");
    goes_on(&mut old);
}

#[test]
fn who_is_faster_at_a_broker_that_was_restarted_as_a_whole_and_hangs_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let start = || Daemon::with_policy(POLICY).socket(directory.path().join("socket")).start();
    let mut before = start();
    let mut old = UpgradedProcess::serving(&before);
    let mut new = claimant(&before, "live timeout=300", &mut old);
    assert_eq!(new.answer(), "1", "it has inherited what was stored");
    old.signal(Signal::STOP);
    before.kill_both();
    let after = start();
    wait_until("the claimant is faster", || after.log().text().contains("claim"));
    old.signal(Signal::CONT);
    assert_eq!(old.ask("next"), "forgotten", "it waits no longer than the other's time");
    goes_on(&mut old);
    assert_eq!(new.fails("ready"), "Completed");
}

#[test]
fn so_it_is_where_the_old_one_has_nothing_there_since_an_earlier_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = || Daemon::with_policy(POLICY).socket(directory.path().join("socket")).start();
    let mut before = start();
    let mut old = UpgradedProcess::started(&before, "live retry=100");
    old.ask("ready");
    let mut new = claimant(&before, "live timeout=300", &mut old);
    new.answer();
    old.signal(Signal::STOP);
    before.kill_both();
    let after = start();
    wait_until("the claimant is faster", || after.log().text().contains("claim"));
    old.signal(Signal::CONT);
    assert_eq!(old.ask("next"), "withdrawn");
    goes_on(&mut old);
}

#[test]
fn who_came_to_serve_while_the_broker_was_restarted_as_a_whole_has_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let start = || Daemon::with_policy(POLICY).socket(directory.path().join("socket")).start();
    let mut before = start();
    let mut old = UpgradedProcess::serving(&before);
    old.signal(Signal::STOP);
    before.kill_both();
    let after = start();
    let mut new = UpgradedProcess::serving(&after);
    old.signal(Signal::CONT);
    old.ask("complete");
    goes_on(&mut new);
}

#[test]
fn an_older_library_that_knows_no_claims_gets_the_sockets_by_number_and_a_newer_one_finds_them() {
    for serial in BOTH {
        let daemon = daemon(serial);
        let mut old = UpgradedProcess::started(&daemon, "live");
        let address = old.ask("listen http 127.0.0.1:0");
        old.ask("ready");

        let older = HelperProcess::same();
        let mut asks = older.connect(&daemon);
        asks.send(&request::get((WEB, 0)), &[]);
        if serial {
            assert!(!asks.is_answered(MEANWHILE), "answered while the owner lives");
        }
        old.kill();
        let listener = TcpListener::from(asks.answer().descriptor());
        assert_eq!(listener.local_addr().unwrap().to_string(), address);
        asks.add_descriptor((WEB, 1), &listener, "in its own words").done();
        drop((asks, older, listener));

        let mut new = UpgradedProcess::started(&daemon, "live");
        assert_eq!(new.ask("names"), "http");
        assert_eq!(new.ask("listen http 127.0.0.1:0"), address);
        new.ask("ready");
        // What the older one left in its own words is not ours to remove.
        new.kill();
        assert_eq!(daemon.connect().get((WEB, 1)).payload(), b"in its own words");
    }
}

/// A payload as an upgrader of some version writes it, with a field that ours does not know.
fn payload(major: u16, name: &str, text: &str) -> Vec<u8> {
    const STORED: u16 = 4;
    const EXTRA: u16 = 5;
    const UNKNOWN: u16 = 999;
    let mut payload = b"\x7ffdbupg\0".to_vec();
    for number in [major, 7, STORED, u16::try_from(name.len()).unwrap()] {
        payload.extend(number.to_ne_bytes());
    }
    payload.extend(name.as_bytes());
    for (field, bytes) in [(UNKNOWN, "of a later version"), (EXTRA, text)] {
        payload.extend(field.to_ne_bytes());
        payload.extend([0; 2]);
        payload.extend(u32::try_from(bytes.len()).unwrap().to_ne_bytes());
        payload.extend(bytes.as_bytes());
    }
    payload
}

#[test]
fn what_a_later_library_left_is_read_as_far_as_possible_and_the_rest_is_left_for_it() {
    let daemon = daemon(false);
    let mut later = daemon.connect();
    let major = payload(2, "major", "not known");
    later.ask(&request::add((WEB, 0), -1, &payload(1, "minor", "known")), &[]).done();
    later.ask(&request::add((WEB, 1), -1, &major), &[]).done();
    let mut older = UpgradedProcess::started(&daemon, "live");
    assert_eq!(older.ask("stored minor"), "known");
    assert_eq!(older.fails("stored major"), "Unreadable");
    assert_eq!(older.fails("store major again"), "Unreadable");
    older.ask("ready");
    // For the later version to find, should it come back.
    assert_eq!(daemon.connect().get((WEB, 1)).payload(), major);
    assert_eq!(older.ask("remove major"), "true");
    assert_eq!(daemon.connect().get((WEB, 1)).errno(), libc::ENOENT);
}

#[test]
fn the_broker_is_killed_while_one_takes_over_and_another_waits_and_both_get_there() {
    for serial in BOTH {
        let daemon = daemon(serial);
        let mut old = UpgradedProcess::serving(&daemon);
        let mut first = claimant(&daemon, "live", &mut old);
        first.answer();
        first.ask("store what first");
        let mut second = UpgradedProcess::new();
        second.begin(&daemon, "live");
        assert!(second.is_silent(MEANWHILE), "two take over at the same time");
        daemon.kill_worker();
        // Which of the two the new worker hears of first is open; both have their turn.
        first.order("ready");
        second.answer();
        assert!(["it-was", "first"].contains(&second.ask("stored what").as_str()));
        second.ask("ready");
        first.answer();
        old.ask("complete");
    }
}

#[test]
fn the_broker_is_killed_again_and_again_while_a_server_is_upgraded_under_load() {
    const UPGRADES: usize = 20;
    let daemon = Daemon::with_policy(&POLICY.replace("id = 10", "id = 2")).start();
    let mut server = Example::start(&daemon, "http");
    let clients = Clients { staying: 4, coming: 4, every: Duration::from_millis(10) };
    let load = Load::start(server.address(), clients);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // At any moment: the time between two is no multiple of what an upgrade takes.
            for pause in (20..4000).step_by(7).take_while(|_| !ends.load(Ordering::Relaxed)) {
                std::thread::sleep(Duration::from_millis(30 + pause % 170));
                daemon.kill_worker();
            }
        });
        for _ in 0..UPGRADES {
            let new = Example::start(&daemon, "http");
            load.is_served_by(new.pid());
            assert!(server.ends().success());
            server = new;
        }
        ends.store(true, Ordering::Relaxed);
    });
    assert_eq!(load.end().servers.len(), UPGRADES + 1);
}
