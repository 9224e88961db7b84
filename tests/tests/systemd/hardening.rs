//! How much the service manager's units leave to the broker, as `systemd-analyze security` counts it.

use std::path::Path;
use std::process::Command;

use fdbroker_tests::{Directory, skip, systemd::ServiceManager, wait_until};

const UNIT: &str = include_str!("../../../systemd/fdbrokerd.service");
const HARDENED: &str = include_str!("../../../systemd/hardened.example.conf");
const SERVICE: &str = "fdbrokerd.service";

/// What systemd counts for the unit with drop-ins; `None` if the tool is missing or too old for
/// files.
fn exposure(what: &str, drop_in: Option<&str>) -> Option<f64> {
    let directory = Directory::new();
    let unit = directory.file(SERVICE, UNIT, 0o644);
    if let Some(drop_in) = drop_in {
        let path = directory.join("fdbrokerd.service.d");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("hardened.conf"), drop_in).unwrap();
    }
    let found = analyze(&unit);
    if found.is_none() {
        skip(what, "there is no systemd-analyze that judges files (systemd 250)");
    }
    found
}

fn analyze(unit: &Path) -> Option<f64> {
    let mut command = Command::new("systemd-analyze");
    let output =
        command.args(["security", "--offline=true", "--no-pager"]).arg(unit).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once("Overall exposure level for fdbrokerd.service: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[test]
fn the_unit_leaves_no_more_than_opening_any_device_takes() {
    let Some(exposure) = exposure("the exposure of the unit", None) else { return };
    assert!(exposure <= 2.8, "{exposure}");
}

#[test]
fn without_devices_the_exposure_is_at_most_two() {
    let Some(exposure) = exposure("the exposure of the hardened unit", Some(HARDENED)) else {
        return;
    };
    assert!(exposure <= 2.0, "{exposure}");
}

#[test]
fn the_hardened_unit_keeps_deposits_and_confines_its_worker() {
    let policy = "version = 1\n[tags.services]\nid = 10\n[[rules]]\nid = \"root keeps things here\"\n\
                  allow = [\"add\", \"get\"]\nslots = [\"services/*\"]\nuser = \"root\"\n";
    let manager = match ServiceManager::boot(policy) {
        Ok(manager) => manager,
        Err(reason) => return skip("the hardened unit", &reason),
    };
    let directory = "/etc/systemd/system/fdbrokerd.service.d";
    let script = format!("mkdir -p {directory} && cat > {directory}/hardened.conf");
    assert!(manager.run_with(HARDENED, &["sh", "-c", &script]).status.success());
    manager.succeed(&["systemctl", "daemon-reload"]);
    let started = manager.run(&["systemctl", "start", SERVICE]);
    let log = || manager.succeed(&["journalctl", "--no-pager", "-u", SERVICE]);
    assert!(started.status.success(), "{started:?}: {}", log());
    manager.succeed(&["sh", "-c", "echo kept | fdbroker add 10/0 --payload -"]);
    assert!(manager.succeed(&["fdbroker", "get", "10/0"]).contains("kept"));
    assert_eq!(manager.property(SERVICE, "MemorySwapMax"), "0");
    let pid = manager.property(SERVICE, "MainPID");
    let status = manager.succeed(&["sh", "-c", &format!("cat /proc/$(pgrep -P {pid})/status")]);
    assert!(status.contains("CapBnd:\t0000000000000000"), "{status}");
    wait_until("the log says what the worker is confined by", || {
        log().contains("the worker is confined by Landlock")
    });
    manager.end();
}
