//! Tags with `durability = "strict"`: what is acknowledged there outlives everything of the broker.

use fdbroker_tests::{skip, systemd::ServiceManager};

use super::ends::{SERVICE, ways};

const POLICY: &str = r#"
version = 1

[tags.vault]
id = 10
durability = "strict"
accept = ["unix-listener", "char-device", "file", "none"]

[[rules]]
id = "everybody keeps things here"
allow = ["*"]
slots = ["vault/*"]
anyone = true
"#;

fn booted(what: &str) -> Option<ServiceManager> {
    let manager = ServiceManager::boot(POLICY).map_err(|reason| skip(what, &reason)).ok()?;
    manager.succeed(&["systemctl", "start", SERVICE]);
    Some(manager)
}

#[test]
fn what_a_strict_tag_acknowledges_outlives_a_kill_right_after_that() {
    let Some(manager) = booted("deposits of a strict tag") else { return };
    let [.., (_, kill_both)] = ways();
    for round in 0..5 {
        let (slot, path) = (format!("10/{round}"), format!("unix:/run/kept.{round}"));
        manager.succeed(&["fdbroker", "add", &slot, "--listen", &path]);
        kill_both(&manager);
        manager.succeed(&["fdbroker", "exec", &slot, "--", "true"]);
        manager.succeed(&["fdbroker", "del", &slot]);
        kill_both(&manager);
        let deleted = manager.run(&["fdbroker", "get", &slot]);
        assert_eq!(deleted.status.code(), Some(4), "{deleted:?}");
    }
    manager.end();
}

#[test]
fn a_strict_tag_refuses_what_cannot_be_stored_and_says_why() {
    let Some(manager) = booted("what a strict tag refuses") else { return };
    for (what, why) in [("/dev/null", "of this kind"), ("/proc/version", "no block device")] {
        let added = manager.run(&["fdbroker", "add", "10/1", "--open", what]);
        let said = String::from_utf8_lossy(&added.stderr);
        assert!(!added.status.success() && said.contains(why), "{what}: {added:?}");
        let got = manager.run(&["fdbroker", "get", "10/1"]);
        assert_eq!(got.status.code(), Some(4), "{what} is not kept: {got:?}");
    }
    manager.end();
}

#[test]
fn what_a_strict_tag_refuses_leaves_the_deposit_that_was_there() {
    let Some(manager) = booted("what a strict tag refuses to replace") else { return };
    let [.., (_, kill_both)] = ways();
    manager.succeed(&["fdbroker", "add", "10/1", "--listen", "unix:/run/kept"]);
    for (end, when) in [(None, "at once"), (Some(kill_both), "after a kill")] {
        let refused = manager.run(&["fdbroker", "add", "10/1", "--open", "/dev/null"]);
        assert!(!refused.status.success(), "{when}: {refused:?}");
        end.into_iter().for_each(|end| end(&manager));
        let socket = &["fdbroker", "exec", "10/1", "--", "test", "-S", "/proc/self/fd/3"];
        manager.succeed(socket);
        let listed = manager.succeed(&["fdbroker", "list"]);
        assert!(!listed.contains("here-only"), "{when}: {listed}");
    }
    manager.succeed(&["fdbroker", "del", "10/1"]);
    manager.end();
}
