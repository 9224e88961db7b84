//! The units of applications that docs/units.md shows, with the policy on that page.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_tests::{skip, systemd::ServiceManager, wait_until};

/// Reads four bytes of descriptor 3 and says which device nodes it sees; then it stays, as a server does.
const PROGRAM: &str = "#!/bin/sh
head -c 4 <&3 | od -An -tx1
test -e /dev/sensor && echo sees the device || echo sees no device
exec sleep 1000
";

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn policy() -> String {
    let page = fs::read_to_string(checkout("docs/units.md")).unwrap();
    page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

/// A machine with a sensor, which says zeros, and with units of the page.
fn booted(what: &str, units: &[&str]) -> Option<ServiceManager> {
    let booted = ServiceManager::boot(&policy());
    let manager = booted.map_err(|reason| skip(what, &reason)).ok()?;
    manager.succeed(&["mknod", "-m", "600", "/dev/sensor", "c", "1", "5"]);
    // What PrivateDevices= copies into another /dev.
    manager.succeed(&["ln", "-s", "pts/ptmx", "/dev/ptmx"]);
    for unit in units {
        let (name, kind) = unit.rsplit_once('.').unwrap();
        let example = checkout(&format!("systemd/{name}.example.{kind}"));
        fs::copy(example, manager.path(&format!("/etc/systemd/system/{unit}"))).unwrap();
    }
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["systemctl", "start", "fdbrokerd.socket"]);
    Some(manager)
}

/// Starts a service of the page, and waits until it has said all of this.
#[track_caller]
fn says(manager: &ServiceManager, name: &str, expected: &[&str]) {
    let script = format!("cat >/usr/local/bin/{name} && chmod 755 /usr/local/bin/{name}");
    assert!(manager.run_with(PROGRAM, &["sh", "-c", &script]).status.success());
    let unit = format!("{name}.service");
    let started = manager.run(&["systemctl", "start", &unit]);
    assert!(started.status.success(), "{:?}", manager.journal(&unit));
    for line in expected {
        wait_until(&format!("{unit} says {line}"), || {
            let said = manager.journal(&unit);
            said.iter().any(|it| it["MESSAGE"].as_str().is_some_and(|text| text.contains(line)))
        });
    }
    assert_eq!(manager.property(&unit, "ActiveState"), "active");
}

#[test]
fn a_service_with_a_user_takes_a_device_and_no_other_program_of_the_user_does() {
    let units = ["sensor-log.service"];
    let Some(manager) = booted("the unit of a service with a user", &units) else { return };
    says(&manager, "sensor-log", &["00 00 00 00"]);
    let other = manager.run_as(1, &["fdbroker", "exec", "sensor", "--", "true"]);
    assert_eq!(other.status.code(), Some(3), "{other:?}");
    manager.succeed(&["systemctl", "restart", "fdbrokerd.service"]);
    assert_eq!(manager.property("sensor-log.service", "ActiveState"), "active");
    manager.end();
}

#[test]
fn a_service_with_a_dynamic_user_and_private_devices_takes_a_device() {
    let units = ["sensor-relay.service"];
    let Some(manager) = booted("the unit of a service without a user", &units) else { return };
    says(&manager, "sensor-relay", &["00 00 00 00", "sees no device"]);
    manager.end();
}

#[test]
fn a_timer_starts_the_backup_of_a_file_that_only_its_owner_may_read() {
    let units = ["ledger-backup.service", "ledger-backup.timer"];
    let Some(manager) = booted("the units of a backup", &units) else { return };
    let ledger = "mkdir -m 700 /var/lib/ledger && echo 42 >/var/lib/ledger/ledger";
    manager.succeed(&["sh", "-c", &format!("umask 077; {ledger}")]);
    // By default a timer may be a minute late.
    let soon = "[Timer]\nRandomizedDelaySec=0\nOnActiveSec=1s\nAccuracySec=1us\n";
    let directory = "/etc/systemd/system/ledger-backup.timer.d";
    let script = format!("mkdir {directory} && cat >{directory}/soon.conf");
    assert!(manager.run_with(soon, &["sh", "-c", &script]).status.success());
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["systemctl", "start", "ledger-backup.timer"]);
    wait_until("the file was copied", || {
        let copied = manager.run(&["cat", "/var/lib/ledger-backup/ledger"]);
        copied.stdout == b"42\n"
    });
    assert_eq!(manager.property("ledger-backup.service", "Result"), "success");
    manager.end();
}
