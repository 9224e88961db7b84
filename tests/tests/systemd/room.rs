//! How much room the service manager has: what finds none is known, and is stored when there is some.

use std::fs;

use fdbroker_tests::{skip, systemd::ServiceManager, wait_until};

use super::ends::{SERVICE, ways};

const POLICY: &str = r#"
version = 1

[tags.services]
id = 10
accept = ["unix-listener"]

[tags.vault]
id = 11
durability = "strict"
accept = ["unix-listener"]

[[rules]]
id = "root keeps things here, and sees the status"
allow = ["*"]
slots = ["*"]
user = "root"

[[rules]]
id = "root operates"
allow = ["operate"]
user = "root"
"#;

/// One with room for so many descriptors.
fn booted(what: &str, most: u32) -> Option<ServiceManager> {
    let manager = ServiceManager::boot(POLICY).map_err(|reason| skip(what, &reason)).ok()?;
    set_most(&manager, most);
    manager.succeed(&["systemctl", "start", SERVICE]);
    Some(manager)
}

/// Changes how many descriptors the service manager keeps, as an operator does.
fn set_most(manager: &ServiceManager, most: u32) {
    let drop_ins = manager.path("/etc/systemd/system/fdbrokerd.service.d");
    fs::create_dir_all(&drop_ins).unwrap();
    let text = format!("[Service]\nFileDescriptorStoreMax={most}\n");
    fs::write(drop_ins.join("store.conf"), text).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
}

#[track_caller]
fn is_said(manager: &ServiceManager, line: &str) {
    wait_until(line, || {
        let said = manager.succeed(&["fdbroker", "status"]);
        said.lines().any(|said| said == line)
    });
}

fn add(manager: &ServiceManager, slot: &str) -> std::process::Output {
    let path = format!("unix:/run/kept.{}", slot.replace('/', "."));
    manager.run(&["fdbroker", "add", slot, "--listen", &path])
}

fn times_logged(manager: &ServiceManager, what: &str) -> usize {
    manager.succeed(&["journalctl", "--no-pager", "-u", SERVICE]).matches(what).count()
}

#[test]
fn a_full_store_is_noticed_once_and_used_when_there_is_room() {
    let Some(manager) = booted("a store that is full", 6) else { return };
    // The journal has a place, and what is stored for a moment to see whether there is room.
    for index in 0..4 {
        assert!(add(&manager, &format!("10/{index}")).status.success());
        is_said(&manager, &format!("mirror={} stored, 0 here only, 0 to be sent", index + 1));
    }
    for index in 4..7 {
        assert!(add(&manager, &format!("10/{index}")).status.success());
    }
    is_said(&manager, "mirror=4 stored, 3 here only, 0 to be sent, full");
    let refused = add(&manager, "11/0");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("EDQUOT") && said.contains("no room"), "{refused:?}");
    let listed = manager.succeed(&["fdbroker", "list", "services"]);
    assert_eq!(listed.matches("here-only").count(), 3, "{listed}");
    assert_eq!(times_logged(&manager, "store of descriptors is full"), 1);
    for slot in ["10/0", "10/1"] {
        manager.succeed(&["fdbroker", "del", slot]);
    }
    is_said(&manager, "mirror=4 stored, 1 here only, 0 to be sent, full");
    for slot in ["10/2", "10/3"] {
        manager.succeed(&["fdbroker", "del", slot]);
    }
    is_said(&manager, "mirror=3 stored, 0 here only, 0 to be sent");
    assert!(add(&manager, "11/0").status.success(), "there is room for a strict one");
    let [.., (_, kill_both)] = ways();
    kill_both(&manager);
    is_said(&manager, "mirror=4 stored, 0 here only, 0 to be sent");
    manager.end();
}

#[test]
fn room_that_an_operator_makes_is_found() {
    let Some(manager) = booted("a store that becomes larger", 4) else { return };
    for index in 0..5 {
        assert!(add(&manager, &format!("10/{index}")).status.success());
    }
    is_said(&manager, "mirror=2 stored, 3 here only, 0 to be sent, full");
    set_most(&manager, 16);
    is_said(&manager, "mirror=5 stored, 0 here only, 0 to be sent");
    assert_eq!(times_logged(&manager, "has room again"), 1);
    assert!(add(&manager, "11/0").status.success());
    manager.end();
}

#[test]
fn what_a_store_that_became_smaller_has_lost_is_said() {
    let Some(manager) = booted("a store that becomes smaller", 16) else { return };
    for index in 0..5 {
        assert!(add(&manager, &format!("10/{index}")).status.success());
    }
    is_said(&manager, "mirror=5 stored, 0 here only, 0 to be sent");
    set_most(&manager, 3);
    manager.succeed(&["systemctl", "restart", SERVICE]);
    let without_journal = "without the journal of the deposits, and are closed: 3";
    let is_told = |entry: &serde_json::Value| {
        let message = entry["MESSAGE"].as_str();
        message.is_some_and(|message| message.contains(without_journal)) && entry["PRIORITY"] == "3"
    };
    wait_until("it is logged", || manager.journal(SERVICE).iter().any(is_told));
    is_said(&manager, "mirror=0 stored, 0 here only, 0 to be sent, 3 lost at start");
    is_said(&manager, "degraded=mirror");
    // What is of no use any more makes room.
    assert!(add(&manager, "11/0").status.success());
    is_said(&manager, "mirror=1 stored, 0 here only, 0 to be sent, 3 lost at start");
    assert!(add(&manager, "10/7").status.success());
    is_said(&manager, "mirror=1 stored, 1 here only, 0 to be sent, full, 3 lost at start");
    let [.., (_, kill_both)] = ways();
    kill_both(&manager);
    is_said(&manager, "mirror=1 stored, 0 here only, 0 to be sent");
    is_said(&manager, "degraded=none");
    // The journal does not know of the other one, and that is said.
    assert_eq!(times_logged(&manager, "store: 1; lost, since"), 1);
    assert_eq!(times_logged(&manager, "that only the last broker had"), 1);
    manager.end();
}

#[test]
fn a_unit_without_a_store_is_noticed() {
    let Some(manager) = booted("a unit without a store of descriptors", 0) else { return };
    is_said(&manager, "mirror=none");
    assert!(add(&manager, "10/0").status.success());
    let refused = add(&manager, "11/0");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("EOPNOTSUPP"), "{refused:?}");
    assert_eq!(times_logged(&manager, "keeps no descriptors of this unit"), 1);
    manager.succeed(&["fdbroker", "exec", "10/0", "--", "true"]);
    manager.end();
}
