//! All of the broker is killed at any moment, while something is deposited all the time.

use std::collections::BTreeSet;
use std::time::Duration;

use fdbroker_tests::{skip, systemd::ServiceManager, wait_until};

use super::ends::{SERVICE, ways};

const ROUNDS: u64 = 5;

fn policy(durability: &str) -> String {
    format!(
        r#"
version = 1

[tags.vault]
id = 10
durability = "{durability}"
accept = ["unix-listener", "none"]

[[rules]]
id = "root keeps things here"
allow = ["*"]
slots = ["vault/*"]
user = "root"

[[rules]]
id = "root operates"
allow = ["operate"]
user = "root"
"#
    )
}

fn booted(what: &str, durability: &str) -> Option<ServiceManager> {
    let manager = ServiceManager::boot(&policy(durability));
    let manager = manager.map_err(|reason| skip(what, &reason)).ok()?;
    manager.succeed(&["systemctl", "start", SERVICE]);
    Some(manager)
}

/// Runs a script until the broker is killed.
fn begin(manager: &ServiceManager, script: &str) {
    manager.succeed(&["systemd-run", "--unit=load", "--collect", "--quiet", "sh", "-c", script]);
}

fn lines(manager: &ServiceManager, file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manager.path(file)).unwrap_or_default();
    // The last line can be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// A moment, another one in each round.
fn moment(round: u64) -> Duration {
    Duration::from_millis(20 + round * 7919 % 131)
}

/// Kills all of it after that, and waits for the next one.
fn kill(manager: &ServiceManager, round: u64, before: impl FnOnce()) {
    let [.., (_, kill_both)] = ways();
    std::thread::sleep(moment(round));
    before();
    kill_both(manager);
    // The script may have begun nothing since.
    manager.run(&["systemctl", "stop", "load.service"]);
}

/// What is left in the slots.
fn left(manager: &ServiceManager) -> BTreeSet<String> {
    let listed = manager.succeed(&["fdbroker", "list"]);
    let slots = listed.lines().filter_map(|line| line.split_whitespace().next());
    slots.filter(|slot| slot.starts_with("10/")).map(str::to_owned).collect()
}

/// How many changes the status shows as not yet mirrored.
fn to_be_sent(manager: &ServiceManager) -> usize {
    let status = manager.succeed(&["fdbroker", "status"]);
    let line = status.lines().find_map(|line| line.strip_prefix("mirror=")).expect("a mirror");
    let waiting = line.split(", ").find_map(|part| part.strip_suffix(" to be sent"));
    waiting.expect("what is to be sent").parse().unwrap()
}

/// Deposits in one slot after the other, and notes each that was acknowledged.
fn deposits(round: u64) -> String {
    format!(
        "i={}; while fdbroker add 10/$i --listen unix:/run/kept.$i; do echo 10/$i >>/run/done; \
         i=$((i+1)); done",
        round * 1000
    )
}

#[test]
fn of_a_strict_tag_nothing_that_was_acknowledged_is_gone() {
    let Some(manager) = booted("kills while a strict tag is filled", "strict") else { return };
    for round in 0..ROUNDS {
        begin(&manager, &deposits(round));
        kill(&manager, round, || ());
        let (done, left) = (lines(&manager, "/run/done"), left(&manager));
        let gone: Vec<_> = done.difference(&left).collect();
        assert!(gone.is_empty(), "round {round}: {gone:?} of {done:?}");
    }
    assert!(!lines(&manager, "/run/done").is_empty());
    manager.end();
}

/// Longer than the supervisor takes to tell how the mirror is.
const STATUS_AGE: std::time::Duration = std::time::Duration::from_millis(2500);

#[test]
fn of_other_tags_at_most_what_the_status_showed_is_gone() {
    let Some(manager) = booted("kills while a tag is filled", "relaxed") else { return };
    let mut lost = BTreeSet::new();
    for round in 0..ROUNDS {
        begin(&manager, &deposits(round));
        let (mut done, mut waiting) = (BTreeSet::new(), 0);
        kill(&manager, round, || {
            done = lines(&manager, "/run/done");
            // The status is up to two seconds old: after that, what it says is of all these.
            std::thread::sleep(STATUS_AGE);
            waiting = to_be_sent(&manager);
        });
        let left = left(&manager);
        let gone: Vec<_> = done.difference(&left).filter(|slot| !lost.contains(*slot)).collect();
        assert!(gone.len() <= waiting, "round {round}: {gone:?}; {waiting} were to be sent");
        lost.extend(lines(&manager, "/run/done").difference(&left).cloned());
    }
    assert!(!lines(&manager, "/run/done").is_empty());
    manager.end();
}

#[test]
fn a_slot_whose_deposit_is_replaced_is_never_empty() {
    for durability in ["strict", "relaxed"] {
        let what = "kills while a deposit is replaced";
        let Some(manager) = booted(what, durability) else { return };
        manager.succeed(&["fdbroker", "add", "10/1", "--listen", "unix:/run/first"]);
        wait_until("it is stored", || to_be_sent(&manager) == 0);
        for round in 0..ROUNDS {
            let replace = format!(
                "i=0; while fdbroker add 10/1 --listen unix:/run/kept.{round}.$i; do i=$((i+1)); \
                 done"
            );
            begin(&manager, &replace);
            kill(&manager, round, || ());
            let got = manager.run(&["fdbroker", "exec", "10/1", "--", "true"]);
            assert!(got.status.success(), "{durability}, round {round}: {got:?}");
        }
        manager.end();
    }
}
