//! Upgrades that do not go well, with real processes: whatever one of them does, or the broker,
//! what was deposited is there, and exactly one process owns it.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fdbroker_tests::load::{Clients, Load};
use fdbroker_tests::{Daemon, Example, Instance, Person, request, wait_until};
use rustix::process::Signal;

const POLICY: &str = r#"
[tags.web]
id = 10

[tags.serial]
id = 11
serial = true

[[rules]]
id = "everyone"
allow = ["*"]
slots = ["*"]
anyone = true
"#;

const WEB: i16 = 10;
const SERIAL: i16 = 11;
const BOTH: [i16; 2] = [WEB, SERIAL];
const MODES: [&str; 2] = ["live", "quiesced"];

/// Long enough to see that no answer comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(200);
/// A time that is soon up.
const SHORT: Duration = Duration::from_millis(300);

fn daemon() -> Daemon {
    Daemon::with_policy(POLICY).start()
}

/// A process that serves, and has stored `state` as "old".
fn serving(daemon: &Daemon, tag: i16) -> Instance {
    let mut old = Instance::new(daemon, tag);
    old.starts("live");
    old.answers("started with 0");
    old.must("store state old", "done");
    old.must("ready", "done");
    old
}

/// A process that has claimed a tag, as its owner has heard.
#[track_caller]
fn claimant(daemon: &Daemon, tag: i16, mode: &str, old: &mut Instance) -> Instance {
    let mut new = Instance::new(daemon, tag);
    new.starts(mode);
    is_told_of(old, mode, &new);
    new
}

#[track_caller]
fn is_told_of(old: &mut Instance, mode: &str, new: &Instance) {
    let mode = if mode == "live" { "Live" } else { "Quiesced" };
    old.must("next", &format!("claimed {mode} by {}", new.pid()));
}

/// It owns its tag: what it stores is there at once.
#[track_caller]
fn goes_on(old: &mut Instance) {
    old.must("store state on", "done");
    old.must("stored state", "it is on");
}

#[test]
fn a_process_that_fails_before_it_is_ready_leaves_everything_as_it_was() {
    let daemon = daemon();
    for (tag, mode) in BOTH.into_iter().zip(MODES) {
        let mut old = serving(&daemon, tag);
        let mut new = claimant(&daemon, tag, mode, &mut old);
        if mode == "quiesced" {
            old.must("release", "done");
        }
        new.answers("started with 1");
        new.must("store state new", "done");
        new.must("store more new", "done");
        new.must("remove state", "removed: true");
        old.fails("store state changed", "InProgress");
        new.kill();
        old.must("next", "withdrawn");
        old.must("stored state", "it is old");
        old.must("stored more", "nothing");
        goes_on(&mut old);
    }
}

#[test]
fn a_process_that_fails_before_the_owner_has_released_leaves_everything_as_it_was() {
    let daemon = daemon();
    let mut old = serving(&daemon, WEB);
    let new = claimant(&daemon, WEB, "quiesced", &mut old);
    new.kill();
    old.must("next", "withdrawn");
    old.fails("release", "Unclaimed");
    goes_on(&mut old);
}

#[test]
fn a_process_that_hangs_has_its_time_and_then_the_owner_goes_on() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = serving(&daemon, tag);
        let mut new = Instance::new(&daemon, tag);
        new.starts_within("live", SHORT, SHORT);
        is_told_of(&mut old, "live", &new);
        new.answers("started with 1");
        new.signal(Signal::STOP);
        old.must("next", "withdrawn");
        goes_on(&mut old);
        new.signal(Signal::CONT);
        new.fails("ready", "TimedOut");
        new.fails("store state late", "TimedOut");
        old.must("stored state", "it is on");
    }
}

#[test]
fn an_owner_that_hangs_keeps_what_it_has_and_the_claimant_gives_up() {
    let daemon = daemon();
    let mut old = serving(&daemon, WEB);
    old.signal(Signal::STOP);
    let mut new = Instance::new(&daemon, WEB);
    new.starts_within("quiesced", SHORT * 10, SHORT);
    let answer = new.answer();
    assert!(answer.starts_with("error TimedOut: "), "{answer}");
    old.signal(Signal::CONT);
    goes_on(&mut old);
}

#[test]
fn of_three_at_once_each_takes_over_from_the_one_before_and_who_fails_is_skipped() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = serving(&daemon, tag);
        let mut first = claimant(&daemon, tag, "live", &mut old);
        first.answers("started with 1");
        let [mut second, mut third] = [(); 2].map(|()| Instance::new(&daemon, tag));
        second.starts("live");
        assert!(!second.is_answered(MEANWHILE), "two take over at the same time");
        third.starts("live");
        assert!(!third.is_answered(MEANWHILE), "two take over at the same time");

        first.must("store state first", "done");
        first.must("ready", "done");
        old.must("complete", "done");
        old.fails("store state late", "Completed");
        second.answers("started with 1");
        second.must("stored state", "it is first");
        assert!(!third.is_answered(MEANWHILE), "two take over at the same time");
        second.kill();
        third.answers("started with 1");
        third.must("stored state", "it is first");
        third.must("store state third", "done");
        third.must("ready", "done");
        first.must("complete", "done");
        third.must("stored state", "it is third");
    }
}

#[test]
fn an_owner_that_dies_between_coming_to_rest_and_releasing_leaves_what_it_has_deposited() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = serving(&daemon, tag);
        let mut new = claimant(&daemon, tag, "quiesced", &mut old);
        old.must("store state rested", "done");
        assert!(!new.is_answered(MEANWHILE), "granted before the owner has released");
        old.kill();
        new.answers("started with 1");
        new.must("stored state", "it is rested");
        new.must("ready", "done");
        goes_on(&mut new);
    }
}

#[test]
fn an_owner_that_dies_while_another_process_takes_over_changes_nothing_for_that_one() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = serving(&daemon, tag);
        let mut new = claimant(&daemon, tag, "quiesced", &mut old);
        old.must("release", "done");
        new.answers("started with 1");
        new.must("store more new", "done");
        old.kill();
        new.must("ready", "done");
        new.must("stored more", "it is new");
        goes_on(&mut new);
    }
}

#[test]
fn more_sockets_than_one_message_holds_go_from_process_to_process() {
    const MANY: usize = 600;
    let daemon = daemon();
    let names: Vec<_> = (0..MANY).map(|number| format!("listen {number}")).collect();
    let mut old = Instance::new(&daemon, WEB);
    old.starts("live");
    old.answers("started with 0");
    let addresses: Vec<_> = names.iter().map(|name| old.ask(name)).collect();
    old.must("ready", "done");
    let mut new = claimant(&daemon, WEB, "live", &mut old);
    new.answers(&format!("started with {MANY}"));
    for (name, address) in names.iter().zip(&addresses) {
        new.must(name, address);
    }
    new.must("ready", "done");
    old.must("complete", "done");
    old.kill();
    for address in &addresses {
        std::net::TcpStream::connect(address).expect("it listens all the time");
    }
}

/// The older one knows no claims: it gets and deposits, by number.
#[test]
fn a_process_with_an_older_library_gets_the_sockets_of_one_that_has_ended() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = Instance::new(&daemon, tag);
        old.starts("live");
        old.answers("started with 0");
        let address = old.ask("listen http");
        old.must("ready", "done");

        let older = Person::same();
        let mut asks = older.connect(&daemon);
        asks.send(&request::get((tag, 0)), &[]);
        if tag == SERIAL {
            assert!(!asks.is_answered(MEANWHILE), "answered while the owner lives");
        }
        old.kill();
        let listener = TcpListener::from(asks.answer().descriptor());
        assert_eq!(listener.local_addr().unwrap().to_string(), address);
        asks.add_descriptor((tag, 1), &listener, "in its own words").done();
        drop((asks, older, listener));

        // And back: what the older one left in its own words stays where it is.
        let mut new = Instance::new(&daemon, tag);
        new.starts("live");
        new.answers("started with 1");
        new.must("listen http", &address);
        new.must("ready", "done");
        assert_eq!(daemon_payload(&daemon, &mut new, tag), b"in its own words");
    }
}

/// What lies in slot 1 of a tag, once its owner has ended.
fn daemon_payload(daemon: &Daemon, new: &mut Instance, tag: i16) -> Vec<u8> {
    new.signal(Signal::KILL);
    daemon.connect().get((tag, 1)).payload()
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
fn after_a_later_library_an_older_one_reads_what_it_can_and_leaves_the_rest() {
    let daemon = daemon();
    let mut later = daemon.connect();
    later.ask(&request::add((WEB, 0), -1, &payload(1, "minor", "known")), &[]).done();
    later.ask(&request::add((WEB, 1), -1, &payload(2, "major", "not known")), &[]).done();
    let mut older = Instance::new(&daemon, WEB);
    older.starts("live");
    older.answers("started with 1");
    older.must("stored minor", "it is known");
    older.fails("stored major", "Unreadable");
    older.fails("store major again", "Unreadable");
    older.must("store own text", "done");
    older.must("ready", "done");
    // For the later version to find, should it come back.
    assert_eq!(daemon.connect().get((WEB, 1)).payload(), payload(2, "major", "not known"));
    older.must("remove major", "removed: true");
    assert_eq!(daemon.connect().get((WEB, 1)).errno(), libc::ENOENT);
}

/// The moments of an upgrade, in order.
const STEPS: [&str; 7] = [
    "the owner serves",
    "it was claimed",
    "the owner has deposited again",
    "the claimant has started",
    "the claimant has prepared",
    "the claimant is ready",
    "all is over",
];

#[test]
fn the_broker_may_be_killed_in_the_middle_of_each_step() {
    for mode in MODES {
        for tag in BOTH {
            STEPS.iter().for_each(|step| upgrade_with_a_kill(tag, mode, step));
        }
    }
}

fn upgrade_with_a_kill(tag: i16, mode: &str, killed_at: &str) {
    println!("{mode}, tag {tag}, killed when {killed_at}");
    let daemon = daemon();
    let reached = |step: &str| {
        if step == killed_at {
            daemon.kill_worker();
        }
    };
    let mut old = serving(&daemon, tag);
    reached(STEPS[0]);
    let mut new = claimant(&daemon, tag, mode, &mut old);
    reached(STEPS[1]);
    if mode == "quiesced" {
        old.must("store state rested", "done");
        reached(STEPS[2]);
        old.must("release", "done");
    }
    new.answers("started with 1");
    reached(STEPS[3]);
    new.must("store more new", "done");
    let expected = if mode == "quiesced" { "it is rested" } else { "it is old" };
    new.must("stored state", expected);
    reached(STEPS[4]);
    new.must("ready", "done");
    reached(STEPS[5]);
    old.must("complete", "done");
    old.fails("store state late", "Completed");
    reached(STEPS[6]);
    new.must("stored more", "it is new");
    goes_on(&mut new);

    // What was acknowledged is there for the next one.
    new.kill();
    let mut next = Instance::new(&daemon, tag);
    next.starts("live");
    next.answers("started with 2");
    next.must("stored state", "it is on");
    next.must("stored more", "it is new");
}

#[test]
fn the_broker_may_be_killed_while_somebody_waits_for_his_turn() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = serving(&daemon, tag);
        let mut first = claimant(&daemon, tag, "live", &mut old);
        first.answers("started with 1");
        let mut second = Instance::new(&daemon, tag);
        second.starts("live");
        assert!(!second.is_answered(MEANWHILE), "two take over at the same time");
        daemon.kill_worker();
        // Which of the two claims first now is open; the other one is told or waits.
        first.must("store state first", "done");
        first.tell("ready");
        let end = first.answer();
        if end == "done" {
            second.answers("started with 1");
            second.must("stored state", "it is first");
        } else {
            assert!(end.starts_with("error Changed: "), "{end}");
            second.answers("started with 1");
        }
        second.must("ready", "done");
        goes_on(&mut second);
        old.must("complete", "done");
        wait_until("there is a worker", || fdbroker_tests::process::runs(daemon.worker_pid()));
    }
}

#[test]
fn the_broker_is_killed_again_and_again_while_a_server_is_upgraded_under_load() {
    const UPGRADES: usize = 20;
    let policy = POLICY.replace("id = 10", "id = 2");
    let daemon = Daemon::with_policy(&policy).start();
    let mut server = Example::start(&daemon, "http");
    let clients = Clients { staying: 4, coming: 4, every: Duration::from_millis(10) };
    let load = Load::start(server.address(), clients);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // At any moment: the time between two is no multiple of what an upgrade takes.
            for pause in (20..4000).step_by(7).take_while(|_| !ends.load(Ordering::Relaxed)) {
                std::thread::sleep(Duration::from_millis(pause % 90));
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
