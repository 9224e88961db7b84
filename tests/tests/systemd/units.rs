//! What comes with the units: a reload, the example of a drop-in, the catalog of the journal.

use fdbroker_tests::{skip, systemd::ServiceManager, wait_for, wait_until};

const SERVICE: &str = "fdbrokerd.service";
const TRAIL: &str = "/var/log/fdbroker/audit.log";

/// A policy under which root has the right `get` to some slots of tag 10.
fn policy(slots: &str) -> String {
    format!(
        r#"
version = 1

[broker]
audit = "required"

[tags.services]
id = 10

[[rules]]
id = "root keeps things here"
allow = ["get"]
slots = ["{slots}"]
user = "root"
"#
    )
}

#[test]
fn systemctl_reload_puts_the_policy_in_force_and_the_catalog_explains_what_happened() {
    let manager = match ServiceManager::boot(&policy("services/0")) {
        Ok(manager) => manager,
        Err(reason) => return skip("the units' drop-in and catalog", &reason),
    };
    let installed = |directory: &str, name: &str, text: &str| {
        let script = format!("mkdir -p {directory} && cat > {directory}/{name}");
        let output = manager.run_with(text, &["sh", "-c", &script]);
        assert!(output.status.success(), "{output:?}");
    };
    let drop_in = include_str!("../../../systemd/drop-in.example.conf");
    installed("/etc/systemd/system/fdbrokerd.service.d", "local.conf", drop_in);
    let catalog = include_str!("../../../systemd/fdbroker.catalog");
    installed("/usr/lib/systemd/catalog", "fdbroker.catalog", catalog);
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["journalctl", "--update-catalog"]);
    manager.succeed(&["systemctl", "start", SERVICE]);

    assert_eq!(get(&manager, "10/1"), Some(3), "no rule covers it yet");
    installed("/etc/fdbroker", "policy.toml", &policy("services/*"));
    manager.succeed(&["systemctl", "reload", SERVICE]);
    wait_until("the new policy is in force", || get(&manager, "10/1") == Some(4));
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");

    installed("/etc/fdbroker", "policy.toml", "version = 2");
    let refused = manager.run(&["systemctl", "reload", SERVICE]);
    assert!(!refused.status.success(), "{refused:?}");
    wait_for("the reload that failed is in the trail", || {
        let trail = manager.succeed(&["cat", TRAIL]);
        let failed = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["FDBROKER_KIND"] == "reload" && record["FDBROKER_VERDICT"] == "failed"
        };
        trail.lines().filter(|line| !line.is_empty()).any(failed).then_some(())
    });
    assert_eq!(get(&manager, "10/1"), Some(4));
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");

    let explained = wait_for("the catalog explains it", || {
        let entries = manager.succeed(&["journalctl", "--no-pager", "-x", "-u", SERVICE]);
        entries.contains("the old policy stays in force, whole").then_some(entries)
    });
    assert!(!explained.contains("@FDBROKER_"), "a field of the catalog has no value: {explained}");
    manager.end();
}

/// The exit status of root's `fdbroker get`.
fn get(manager: &ServiceManager, slot: &str) -> Option<i32> {
    manager.run(&["fdbroker", "get", slot]).status.code()
}

#[test]
fn the_units_have_nothing_that_systemd_warns_of() {
    let what = "systemd-analyze verify of the units";
    let manager = match ServiceManager::boot(&policy("services/0")) {
        Ok(manager) => manager,
        Err(reason) => return skip(what, &reason),
    };
    if !manager.run(&["sh", "-c", "command -v systemd-analyze"]).status.success() {
        return skip(what, "there is no systemd-analyze");
    }
    let units = ["fdbrokerd.service", "fdbrokerd.socket"];
    let verified = manager.run(&[&["systemd-analyze", "verify", "--man=no"][..], &units].concat());
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("fdbroker"), "{said}");
    manager.end();
}
