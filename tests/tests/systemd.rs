//! The broker under systemd, with the units that come with it.

use fdbroker_tests::{skip, systemd::ServiceManager, wait_for};

const SERVICE: &str = "fdbrokerd.service";
const SOCKET: &str = "fdbrokerd.socket";
const PATH: &str = "/run/fdbroker/fdbroker.sock";

const POLICY: &str = r#"
version = 1

[tags.services]
id = 10

[[rules]]
id = "root keeps things here"
allow = ["add", "get", "del"]
slots = ["services/*"]
user = "root"
"#;

#[test]
fn a_client_starts_it_and_the_journal_has_what_was_decided() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("the broker under systemd", &reason),
    };
    manager.succeed(&["systemctl", "start", SOCKET]);
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");

    // Connecting starts it.
    let added = manager.run_with("kept", &["fdbroker", "add", "10/3", "--payload", "-"]);
    assert!(added.status.success(), "{added:?}\n{}", status(&manager));
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/3"]), "kept");
    let refused = manager.run_as(12345, &["fdbroker", "get", "10/3"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(manager.property(SERVICE, "Type"), "notify");
    // Only a service of this type that has said READY=1 is active.
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");

    let add = wait_for_record(&manager, "granted", "add");
    assert_eq!(add["SYSLOG_IDENTIFIER"], "fdbrokerd");
    assert_eq!(add["PRIORITY"], "5");
    assert_eq!(add["FDBROKER_SLOT"], "10/3");
    assert_eq!(add["FDBROKER_NAME"], "services/3");
    assert_eq!(add["FDBROKER_UID"], "0");
    assert_eq!(add["FDBROKER_RULE"], "root keeps things here");
    let get = wait_for_record(&manager, "refused", "get");
    assert_eq!((&get["FDBROKER_UID"], &get["FDBROKER_RULE"]), (&"12345".into(), &"none".into()));

    manager.succeed(&["systemctl", "stop", SERVICE]);
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive");
    assert_eq!(manager.property(SERVICE, "Result"), "success");
    // The socket is the service manager's, and the next client starts the broker again.
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
    manager.succeed(&["test", "-S", PATH]);
    manager.succeed(&["test", "-f", "/etc/fdbroker/policy.toml"]);
    let added = manager.run_with("again", &["fdbroker", "add", "10/3", "--payload", "-"]);
    assert!(added.status.success(), "{added:?}\n{}", status(&manager));
    manager.succeed(&["systemctl", "stop", SERVICE, SOCKET]);
    assert!(!manager.run(&["test", "-e", PATH]).status.success(), "the socket unit left its file");
    manager.end();
}

/// The audit record of this kind, which the journal has a little later.
#[track_caller]
fn wait_for_record(manager: &ServiceManager, verdict: &str, right: &str) -> serde_json::Value {
    wait_for("the record is in the journal", || {
        let mut entries = manager.journal(SERVICE).into_iter();
        entries.find(|it| it["FDBROKER_VERDICT"] == verdict && it["FDBROKER_RIGHT"] == right)
    })
}

/// What to look at when a client does not get through.
fn status(manager: &ServiceManager) -> String {
    let shown = manager.run(&["systemctl", "status", "--no-pager", "-l", SERVICE, SOCKET]);
    String::from_utf8_lossy(&shown.stdout).into_owned()
}
