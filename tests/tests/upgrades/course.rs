//! The course of an upgrade: who may change what at which time, and what everybody is told. Two
//! upgraders of one process are as good as two processes here; crashes are in `processes.rs`.

use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use fdbroker::upgrader::{Builder, Happening};
use fdbroker::{Connector, Error, Mode, UpgradeError, Upgrader};
use fdbroker_tests::upgrades::{POLICY, SERIAL, WEB, builder, of, serving, start};
use fdbroker_tests::{Daemon, PATIENCE, fixtures, wait_for, wait_until};
use rustix::process::Signal;

fn quiesced(daemon: &Daemon) -> Builder {
    builder(daemon).mode(Mode::Quiesced)
}

#[test]
fn a_process_that_ends_before_it_is_ready_has_changed_nothing() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |first| first.store("old", None, b"1").unwrap());
    let second = start(&daemon);
    second.store("new", None, b"2").unwrap();
    second.store("old", None, b"3").unwrap();
    assert!(second.remove("old").unwrap());
    assert!(matches!(first.next().unwrap(), Happening::Claimed(_)));
    drop(second);
    assert_eq!(first.next().unwrap(), Happening::Withdrawn);
    assert_eq!(first.stored("old").unwrap().unwrap().bytes, b"1");
    drop(first);
    assert_eq!(start(&daemon).names(), ["old"]);
}

#[test]
fn while_an_upgrade_is_under_way_nothing_changes_and_the_error_says_so() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |first| first.store("a", None, b"").unwrap());
    let second = start(&daemon);
    for error in [first.store("b", None, b"").unwrap_err(), first.remove("a").unwrap_err()] {
        assert!(matches!(error, UpgradeError::InProgress { .. }), "{error}");
        assert!(error.is_about_the_upgrade());
    }
    assert!(first.stored("a").unwrap().is_some(), "looking is no change");
    drop(second);
    wait_until("it may again", || first.store("b", None, b"").is_ok());
}

#[test]
fn who_was_overtaken_changes_nothing_any_more_and_the_error_says_so() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |first| first.store("connection", None, b"").unwrap());
    let second = start(&daemon);
    assert!(second.stored("connection").unwrap().is_some());
    second.ready().unwrap();
    // Whether it has heard of it or not.
    let error = first.remove("connection").unwrap_err();
    assert!(matches!(error, UpgradeError::Completed { .. }), "{error}");
    first.upgrade_complete().unwrap();
    assert_eq!(first.next().unwrap(), Happening::Completed);
    let error = first.store("more", None, b"").unwrap_err();
    assert!(matches!(error, UpgradeError::Completed { .. }), "{error}");
    let error = first.ready().unwrap_err();
    assert!(matches!(error, UpgradeError::Completed { .. }), "{error}");
    assert!(second.stored("connection").unwrap().is_some());
}

#[test]
fn who_stops_is_told_so_wherever_he_waits() {
    let daemon = Daemon::of_upgrades();
    let upgrader = serving(&daemon, |upgrader| upgrader.store("a", None, b"").unwrap());
    std::thread::scope(|scope| {
        let complete = scope.spawn(|| upgrader.upgrade_complete().unwrap_err());
        upgrader.stop();
        assert!(matches!(complete.join().unwrap(), UpgradeError::Stopped { .. }));
    });
    assert_eq!(upgrader.next().unwrap(), Happening::Stopped);
    for error in [upgrader.ready().unwrap_err(), upgrader.store("b", None, b"").unwrap_err()] {
        assert!(matches!(error, UpgradeError::Stopped { .. }), "{error}");
    }
    assert_eq!(start(&daemon).names(), ["a"], "what lay there lies there");
}

#[test]
fn quiesced_the_next_one_begins_when_the_owner_has_released() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |first| first.store("count", None, b"1").unwrap());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| quiesced(&daemon).start().unwrap());
        let Happening::Claimed(claimant) = first.next().unwrap() else { panic!("it is claimed") };
        assert_eq!(
            (claimant.mode, claimant.pid),
            (Mode::Quiesced, std::process::id().cast_signed())
        );
        first.store("count", None, b"2").unwrap();
        first.release().unwrap();
        let error = first.store("count", None, b"3").unwrap_err();
        assert!(matches!(error, UpgradeError::InProgress { .. }), "{error}");
        let second = second.join().unwrap();
        assert_eq!(second.stored("count").unwrap().unwrap().bytes, b"2");
        second.ready().unwrap();
        first.upgrade_complete().unwrap();
    });
}

#[test]
fn a_quiesced_owner_goes_on_when_the_claimant_gives_up() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |first| first.store("count", None, b"1").unwrap());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| quiesced(&daemon).start().unwrap());
        assert!(matches!(first.next().unwrap(), Happening::Claimed(_)));
        first.release().unwrap();
        drop(second.join().unwrap());
    });
    assert_eq!(first.next().unwrap(), Happening::Withdrawn);
    first.store("count", None, b"2").unwrap();
    let error = first.release().unwrap_err();
    assert!(matches!(error, UpgradeError::Unclaimed { .. }), "{error}");
}

#[test]
fn who_is_not_ready_in_time_is_told_so_and_the_owner_serves_on() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |_| {});
    let second = builder(&daemon).timeout(Duration::from_millis(50)).start().unwrap();
    assert!(matches!(first.next().unwrap(), Happening::Claimed(_)));
    assert_eq!(first.next().unwrap(), Happening::Withdrawn);
    let error = wait_for("its time is up", || second.store("late", None, b"").err());
    assert!(matches!(error, UpgradeError::TimedOut { .. }), "{error}");
    assert!(matches!(second.ready().unwrap_err(), UpgradeError::TimedOut { .. }));
    first.store("a", None, b"").unwrap();
}

#[test]
fn whose_turn_does_not_come_gives_up_and_leaves_no_claim() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |_| {});
    let error = quiesced(&daemon).patience(Duration::from_millis(50)).start().unwrap_err();
    assert!(matches!(error, UpgradeError::TimedOut { .. }), "{error}");
    assert!(matches!(first.next().unwrap(), Happening::Claimed(_) | Happening::Withdrawn));
    wait_until("it owns the tag undisputed", || first.store("a", None, b"").is_ok());
    let error = builder(&daemon).mode(Mode::Again).start().unwrap_err();
    assert!(matches!(error, UpgradeError::Broker(Error::TakenOver { .. })), "{error}");
}

#[test]
fn three_at_once_take_over_one_after_the_other() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |first| first.store("a", None, b"0").unwrap());
    let taken = AtomicU8::new(0);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let upgrader = start(&daemon);
                    let before = upgrader.stored("a").unwrap().unwrap().bytes[0];
                    let now = taken.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(before, b'0' + now, "each sees what the one before it left");
                    upgrader.store("a", None, &[before + 1]).unwrap();
                    upgrader.ready().unwrap();
                    upgrader
                })
            })
            .collect();
        let mut others: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        first.upgrade_complete().unwrap();
        others.retain(|other| other.store("b", None, b"").is_ok());
        assert_eq!(others.len(), 1, "one owns it");
        assert_eq!(others[0].stored("a").unwrap().unwrap().bytes, b"3");
    });
}

#[test]
fn what_the_broker_does_not_take_is_named_and_ready_can_be_said_again() {
    let daemon = Daemon::with_policy(&POLICY.replace("\"pipe\", ", "")).start();
    let (reader, _writer) = std::io::pipe().unwrap();
    let upgrader = start(&daemon);
    upgrader.store("good", None, b"").unwrap();
    upgrader.store("pipe", Some(reader.as_fd()), b"").unwrap();
    let error = upgrader.ready().unwrap_err();
    assert!(matches!(&error, UpgradeError::Deposit { name, .. } if name == "pipe"), "{error}");
    assert!(upgrader.remove("pipe").unwrap());
    upgrader.ready().unwrap();
    drop(upgrader);
    assert_eq!(start(&daemon).names(), ["good"]);
}

#[test]
fn a_serial_tag_is_handed_on_as_well() {
    let daemon = Daemon::of_upgrades();
    let first = of(&daemon, SERIAL).start().unwrap();
    first.store("a", None, b"1").unwrap();
    first.ready().unwrap();
    let second = of(&daemon, SERIAL).start().unwrap();
    assert_eq!(second.stored("a").unwrap().unwrap().bytes, b"1");
    second.ready().unwrap();
    first.upgrade_complete().unwrap();
    second.store("a", None, b"2").unwrap();
}

#[test]
fn a_broker_that_has_gone_for_good_is_an_error_after_a_bounded_wait() {
    let mut daemon = Daemon::of_upgrades();
    let connector = Connector::new().socket(daemon.socket()).retry_for(Duration::from_millis(100));
    let upgrader = Upgrader::builder(WEB).connector(connector).start().unwrap();
    upgrader.ready().unwrap();
    daemon.end(Signal::TERM);
    let began = std::time::Instant::now();
    let error = upgrader.store("a", None, b"").unwrap_err();
    assert!(matches!(error, UpgradeError::Lost { .. }), "{error}");
    assert!(began.elapsed() < PATIENCE);
    assert!(upgrader.try_next().unwrap().is_none(), "it serves on");
}

#[test]
fn a_broker_that_was_started_anew_has_the_listeners_again_and_what_else_it_has_forgotten_is_told() {
    let mut before = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("link");
    std::os::unix::fs::symlink(before.socket(), &socket).unwrap();
    let upgrader = Upgrader::builder(WEB).connector(Connector::new().socket(&socket));
    let upgrader = upgrader.start().unwrap();
    let listener: TcpListener = upgrader.listen("early", "127.0.0.1:0").unwrap();
    upgrader.ready().unwrap();
    let late: TcpListener = upgrader.listen("late", "127.0.0.1:0").unwrap();
    let _removed: TcpListener = upgrader.listen("removed", "127.0.0.1:0").unwrap();
    assert!(upgrader.remove("removed").unwrap());
    upgrader.store("state", None, b"1").unwrap();
    before.end(Signal::TERM);
    let after = Daemon::of_upgrades();
    let other = directory.path().join("other");
    std::os::unix::fs::symlink(after.socket(), &other).unwrap();
    fs::rename(&other, &socket).unwrap();

    assert_eq!(upgrader.next().unwrap(), Happening::Forgotten);
    assert_eq!(upgrader.names(), ["early", "late"]);
    upgrader.store("state", None, b"2").unwrap();
    let second = start(&after);
    for (name, kept) in [("early", &listener), ("late", &late)] {
        let inherited: TcpListener = second.listener(name).unwrap().unwrap();
        assert!(fixtures::same_file(kept, &inherited), "{name}");
    }
    assert_eq!(second.stored("state").unwrap().unwrap().bytes, b"2");
    second.ready().unwrap();
    upgrader.upgrade_complete().unwrap();
}

#[test]
fn who_has_stopped_or_was_overtaken_keeps_no_listener_open() {
    let daemon = Daemon::of_upgrades();
    let first = start(&daemon);
    let listener: TcpListener = first.listen("http", "127.0.0.1:0").unwrap();
    first.ready().unwrap();
    let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    let held = || {
        let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
        open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|found| found == link)).count()
    };
    assert_eq!(held(), 2, "one is kept for a broker that is started anew");
    let second = start(&daemon);
    second.remove("http").unwrap();
    second.ready().unwrap();
    first.upgrade_complete().unwrap();
    wait_until("the other one is closed", || held() == 1);
    let third = start(&daemon);
    let _made = third.listen_with("http", || listener.try_clone()).unwrap();
    third.ready().unwrap();
    third.stop();
    assert_eq!(held(), 2, "the program's own");
}
