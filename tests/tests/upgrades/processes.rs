//! Upgrades of real processes: they are killed, hang, come three at once, and the broker's worker
//! is killed in the middle of each step.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fdbroker_tests::upgraded_process::UpgradedProcess;
use fdbroker_tests::upgrades::POLICY;
use fdbroker_tests::{Daemon, needs_root, wait_until};

/// Long enough to see that nothing comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(200);

#[test]
fn who_is_killed_leaves_everything_to_the_next_one() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::started(&daemon, "live");
    let address = first.ask("listen http 127.0.0.1:0");
    first.ask("ready");
    let mut client = TcpStream::connect(&address).unwrap();
    first.ask("accept http client");
    first.ask("keep client");
    client.write_all(b"before").unwrap();
    first.kill();
    client.write_all(b" and after").unwrap();
    let mut waiting = TcpStream::connect(&address).expect("the socket listens on");

    let mut second = UpgradedProcess::started(&daemon, "quiesced");
    second.ask("connection client");
    assert_eq!(second.ask("hear client 16"), "before and after");
    second.ask("say client hello");
    assert_eq!(heard(&mut client), "hello");
    assert_eq!(second.ask("listen http 127.0.0.1:0"), address);
    second.ask("ready");
    second.ask("accept http other");
    second.ask("say other aloha");
    assert_eq!(heard(&mut waiting), "aloha");
}

fn heard(client: &mut TcpStream) -> String {
    let mut said = [0; 5];
    client.read_exact(&mut said).unwrap();
    String::from_utf8(said.to_vec()).unwrap()
}

#[test]
fn a_claimant_that_crashes_leaves_the_old_one_serving() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::serving(&daemon);
    for _ in 0..3 {
        let mut second = UpgradedProcess::started(&daemon, "live");
        second.ask("store what else");
        assert_eq!(first.ask("next"), format!("claimed {}", second.pid()));
        second.order("abort");
        assert_eq!(first.ask("next"), "withdrawn");
    }
    assert_eq!(first.ask("stored what"), "it-was");
    first.ask("store what it-is");
}

#[test]
fn a_claimant_that_hangs_is_given_up() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::serving(&daemon);
    let second = UpgradedProcess::started(&daemon, "live timeout=300");
    second.signal(rustix::process::Signal::STOP);
    assert_eq!(first.ask("next"), format!("claimed {}", second.pid()));
    assert_eq!(first.ask("next"), "withdrawn");
    let mut third = UpgradedProcess::started(&daemon, "live");
    third.ask("ready");
    first.ask("complete");
}

#[test]
fn an_owner_that_dies_while_it_is_taken_over_leaves_the_tag_to_its_claimant() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::serving(&daemon);
    let mut second = UpgradedProcess::started(&daemon, "live");
    first.kill();
    assert_eq!(second.ask("stored what"), "it-was");
    second.ask("store what else");
    second.ask("ready");
    let mut third = UpgradedProcess::started(&daemon, "live");
    assert_eq!(third.ask("stored what"), "else");
}

#[test]
fn an_owner_that_dies_between_quiesce_and_release_leaves_what_it_had_stored() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::serving(&daemon);
    let mut second = UpgradedProcess::new();
    second.begin(&daemon, "quiesced");
    assert_eq!(first.ask("next"), format!("claimed {}", second.pid()));
    assert!(second.is_silent(MEANWHILE), "it starts before the owner has released");
    first.ask("store what half-done");
    first.kill();
    second.answer();
    assert_eq!(second.ask("stored what"), "half-done");
    second.ask("ready");
}

#[test]
fn a_child_that_was_forked_and_drops_the_upgrader_takes_nothing_from_its_parent() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::serving(&daemon);
    assert_eq!(first.ask("drop-in-child"), "true", "it does not wait for threads that it has not");
    first.ask("store what it-is");
    let mut second = UpgradedProcess::started(&daemon, "live");
    assert_eq!(second.ask("stored what"), "it-is");
    second.ask("ready");
    first.ask("complete");
}

#[test]
fn three_at_once_become_the_owner_one_after_the_other() {
    let daemon = Daemon::of_upgrades();
    let mut owner = UpgradedProcess::serving(&daemon);
    let mut others: Vec<_> = (0..3).map(|_| UpgradedProcess::new()).collect();
    for (other, order) in others.iter_mut().zip(["live", "quiesced", "live"]) {
        other.begin(&daemon, order);
    }
    let mut left = "it-was".to_owned();
    while !others.is_empty() {
        let happened = owner.ask("next");
        let pid: u32 = happened.strip_prefix("claimed ").unwrap().parse().unwrap();
        let at = others.iter().position(|other| other.pid() == pid).unwrap();
        let mut next = others.remove(at);
        owner.ask("release");
        next.answer();
        assert_eq!(next.ask("stored what"), left, "what the one before has brought");
        left = format!("by-{pid}");
        next.ask(&format!("store what {left}"));
        next.ask("ready");
        owner.ask("complete");
        owner = next;
    }
    owner.ask("store what it-is");
}

#[test]
fn a_successor_of_another_user_needs_the_right_to_replace() {
    if !needs_root("an upgrade to another user") {
        return;
    }
    for (rights, outcome) in [("\"list\"", "Deposit"), ("\"list\", \"replace\"", "")] {
        let daemon = Daemon::with_policy(&POLICY.replace("\"list\"", rights)).start();
        let mut old = UpgradedProcess::of_user(64101);
        let mut new = UpgradedProcess::of_user(64102);
        for (process, text) in [(&mut old, "theirs"), (&mut new, "mine")] {
            process.begin(&daemon, "live");
            process.answer();
            process.ask(&format!("store what {text}"));
            process.order("ready");
            match text {
                "mine" if !outcome.is_empty() => assert_eq!(process.failure(), outcome),
                _ => drop(process.answer()),
            }
        }
        old.ask("complete");
    }
}

#[test]
fn no_thread_and_no_descriptor_is_left_and_no_child_inherits_any() {
    let daemon = Daemon::of_upgrades();
    let mut process = UpgradedProcess::new();
    let before = (process.ask("threads"), process.ask("descriptors"));
    // Some of the harness itself may be among them.
    let seen = process.ask("children-see");
    for _ in 0..3 {
        process.begin(&daemon, "live");
        process.answer();
        process.ask("listen http 127.0.0.1:0");
        process.ask("ready");
        assert_ne!(process.ask("threads"), before.0);
        assert_eq!(process.ask("children-see"), seen);
        process.ask("close http");
        process.ask("drop");
        assert_eq!((process.ask("threads"), process.ask("descriptors")), before);
    }
}

#[test]
fn an_owner_notices_nothing_of_a_broker_that_crashes() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::serving(&daemon);
    let mut stranger = UpgradedProcess::new();
    for round in 0..5 {
        daemon.kill_worker();
        first.ask(&format!("store what {round}"));
        assert_eq!(first.ask("stored what"), round.to_string());
    }
    daemon.kill_worker();
    stranger.begin(&daemon, "again");
    assert_eq!(stranger.failure(), "Broker", "nobody gets in between");
    let mut second = UpgradedProcess::started(&daemon, "live");
    assert_eq!(second.ask("stored what"), "4");
    second.ask("ready");
    first.ask("complete");
}

#[test]
fn who_waits_for_the_end_waits_on_when_the_broker_crashes() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::serving(&daemon);
    first.order("complete");
    for _ in 0..3 {
        daemon.kill_worker();
        assert!(first.is_silent(MEANWHILE));
    }
    let mut second = UpgradedProcess::started(&daemon, "live");
    second.ask("ready");
    first.answer();
}

#[test]
fn a_live_upgrade_goes_on_when_the_broker_is_killed_in_the_middle_of_each_step() {
    for step in 0..4 {
        let daemon = Daemon::of_upgrades();
        let kill = |at: i32| {
            if at == step {
                daemon.kill_worker();
            }
        };
        let mut first = UpgradedProcess::serving(&daemon);
        kill(0);
        let mut second = UpgradedProcess::new();
        second.begin(&daemon, "live");
        kill(1);
        second.answer();
        assert_eq!(second.ask("stored what"), "it-was", "step {step}");
        second.ask("store new from-the-second");
        kill(2);
        second.order("ready");
        kill(3);
        second.answer();
        first.ask("complete");
        assert_eq!(first.fails("store what too-late"), "Completed");
        second.ask("store what it-is");
        let mut third = UpgradedProcess::started(&daemon, "live");
        assert_eq!(
            (third.ask("stored what"), third.ask("stored new")),
            ("it-is".into(), "from-the-second".into())
        );
    }
}

#[test]
fn a_quiesced_upgrade_goes_on_when_the_broker_is_killed_in_the_middle_of_each_step() {
    for step in 0..6 {
        let daemon = Daemon::of_upgrades();
        let kill = |at: i32| {
            if at == step {
                daemon.kill_worker();
            }
        };
        let mut first = UpgradedProcess::serving(&daemon);
        let mut second = UpgradedProcess::new();
        second.begin(&daemon, "quiesced");
        kill(0);
        assert_eq!(first.ask("next"), format!("claimed {}", second.pid()), "step {step}");
        kill(1);
        // Between the crash and the claimant's return nothing may be lost either.
        first.ask("store what up-to-date");
        kill(2);
        first.order("release");
        kill(3);
        first.answer();
        second.answer();
        assert_eq!(second.ask("stored what"), "up-to-date", "step {step}");
        kill(4);
        second.order("ready");
        kill(5);
        second.answer();
        first.ask("complete");
        drop(first);
        second.ask("store what it-is");
    }
}

#[test]
fn ten_upgrades_in_a_row_lose_nothing_while_the_broker_is_killed_again_and_again() {
    let daemon = Daemon::of_upgrades();
    let mut owner = UpgradedProcess::serving(&daemon);
    for round in 0..10 {
        let mut next = UpgradedProcess::new();
        std::thread::scope(|scope| {
            scope.spawn(|| kill_three_times(&daemon));
            next.begin(&daemon, if round % 2 == 0 { "live" } else { "quiesced" });
            assert_eq!(owner.ask("next"), format!("claimed {}", next.pid()), "round {round}");
            owner.ask("release");
            next.answer();
            for kept in (0..round).map(|kept| kept.to_string()).chain(["what".to_owned()]) {
                next.ask(&format!("stored {kept}"));
            }
            next.ask(&format!("store {round} new"));
            next.ask(&format!("store what by-{round}"));
            next.ask("ready");
            owner.ask("complete");
            assert_eq!(owner.fails("remove what"), "Completed");
        });
        owner = next;
    }
    assert_eq!(owner.ask("stored what"), "by-9");
    assert_eq!(owner.ask("names"), "0 1 2 3 4 5 6 7 8 9 what");
}

/// Kills the worker; and again, as soon as the next one has served somebody.
fn kill_three_times(daemon: &Daemon) {
    for _ in 0..3 {
        while daemon.connect().get((10, 0)).is_closed() {}
        daemon.kill_worker();
    }
}

#[test]
fn a_claimant_that_dies_with_the_broker_is_given_up() {
    let daemon = Daemon::of_upgrades();
    let mut first = UpgradedProcess::serving(&daemon);
    let mut second = UpgradedProcess::new();
    second.begin(&daemon, "quiesced");
    assert_eq!(first.ask("next"), format!("claimed {}", second.pid()));
    first.ask("release");
    second.answer();
    second.signal(rustix::process::Signal::STOP);
    daemon.kill_worker();
    second.kill();
    assert_eq!(first.ask("next"), "withdrawn");
    wait_until("it serves on", || {
        first.order("store what it-is");
        first.answer().is_empty()
    });
}
