//! The broker under systemd, with the units that come with it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use fdbroker_tests::{
    Peer, happens_within, process, skip, systemd::ServiceManager, wait_for, wait_until,
};
use rustix::process::Signal;
use serde_json::Value;

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

    // Connecting starts it, also where nobody allows anything to the one that connects.
    let refused = manager.run_as(12345, &["fdbroker", "get", "10/3"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
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
    // The path stays, and the next start replaces it.
    manager.succeed(&["systemctl", "stop", SERVICE, SOCKET]);
    manager.succeed(&["systemctl", "start", SOCKET]);
    manager.succeed(&["test", "-S", PATH]);
    let got = manager.run(&["fdbroker", "get", "10/3"]);
    assert_eq!(got.status.code(), Some(4), "{got:?}\n{}", status(&manager));
    manager.end();
}

#[test]
fn a_broker_started_by_hand_and_a_connection_without_a_network_have_cures() {
    let server = "\n[resources.server]\nslot = \"services/9\"\nconnect = \"tcp:127.0.0.1:1\"\n";
    let manager = match ServiceManager::boot(&format!("{POLICY}{server}")) {
        Ok(manager) => manager,
        Err(reason) => return skip("cures under systemd", &reason),
    };
    manager.succeed(&["systemctl", "start", SOCKET]);
    let by_hand = manager.run(&["fdbrokerd"]);
    let said = String::from_utf8_lossy(&by_hand.stderr);
    assert_eq!(by_hand.status.code(), Some(1), "{by_hand:?}");
    assert!(said.contains("systemd already listens on"), "{said}");
    assert!(said.contains("`systemctl start fdbrokerd`"), "{said}");

    assert!(!manager.run(&["fdbroker", "get", "server"]).status.success());
    wait_until("the journal has the cure", || {
        let journal = manager.journal(SERVICE);
        let mut messages = journal.iter().filter_map(|line| line["MESSAGE"].as_str());
        messages.any(|line| line.contains("RestrictAddressFamilies= and IPAddressAllow="))
    });
    manager.end();
}

#[test]
fn a_reload_of_the_unit_takes_a_policy_over_and_the_journal_tells_by_message_id() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("a reload under systemd", &reason),
    };
    manager.succeed(&["systemctl", "start", SERVICE]);
    let get = || manager.run_as(12345, &["fdbroker", "get", "10/3"]).status.code();
    assert_eq!(get(), Some(3));
    let policy = manager.path("/etc/fdbroker/policy.toml");
    let pid = manager.property(SERVICE, "MainPID");
    fs::write(&policy, POLICY.replace("user = \"root\"", "anyone = true")).unwrap();
    manager.succeed(&["systemctl", "reload", SERVICE]);
    // Nothing lies there, but now that is told.
    wait_until("the new policy is in force", || get() == Some(4));
    wait_until("the service manager knows", || {
        manager.property(SERVICE, "StatusText") == "serving under the new policy"
    });
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");

    fs::write(&policy, "nonsense").unwrap();
    let refused = manager.run(&["systemctl", "reload", SERVICE]);
    assert!(!refused.status.success(), "{refused:?}");
    wait_until("the service manager knows", || {
        manager.property(SERVICE, "StatusText").contains("could not be reloaded")
    });
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");
    assert_eq!(manager.property(SERVICE, "MainPID"), pid);
    assert_eq!(get(), Some(4));

    let reloaded = wait_for_record(&manager, "granted", "reload");
    assert_eq!(reloaded["MESSAGE_ID"], "5843d019f5f4410d8cb4a1166e9443d9");
    assert_eq!(
        (&reloaded["FDBROKER_KIND"], &reloaded["FDBROKER_PID"]),
        (&"reload".into(), &pid.into())
    );
    let failed = wait_for_record(&manager, "failed", "reload");
    fs::write(&policy, POLICY).unwrap();
    manager.succeed(&["systemctl", "reload", SERVICE]);
    wait_until("the corrected policy is in force", || get() == Some(3));
    assert_eq!(
        (&failed["MESSAGE_ID"], &failed["PRIORITY"]),
        (&reloaded["MESSAGE_ID"], &"4".into())
    );
    let refused = wait_for_record(&manager, "refused", "get");
    assert_eq!(refused["MESSAGE_ID"], "a520fbdd8c1948bf8a2e79fe9d4d2b78");
    for (field, value) in [
        ("KIND", "decision"),
        ("SLOT", "10/3"),
        ("NAME", "services/3"),
        ("UID", "12345"),
        ("GID", "12345"),
        ("RULE", "none"),
        ("REASON", "no rule allows it"),
        ("COUNT", "1"),
    ] {
        assert_eq!(refused[format!("FDBROKER_{field}")], value, "{field}: {refused:#}");
    }
    assert!(refused["FDBROKER_UNIT"].is_string(), "{refused:#}");
    let findings = manager.journal(SERVICE);
    let finding = findings.iter().find(|entry| {
        entry["MESSAGE"].as_str().is_some_and(|text| text.contains("/etc/fdbroker/policy.toml:1:"))
    });
    // What is no record has no such id.
    assert_eq!(finding.expect("the findings are in the journal")["MESSAGE_ID"], Value::Null);
    manager.end();
}

#[test]
fn a_reload_of_the_unit_fails_if_a_new_resource_cannot_be_opened_and_says_why() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("a reload whose resource cannot be opened", &reason),
    };
    manager.succeed(&["systemctl", "start", SERVICE]);
    let resource = "[resources.later]\nslot = \"services/9\"\nopen = \"startup\"\nfile = \"/run/later\"\naccess = \"read\"\n";
    let policy = manager.path("/etc/fdbroker/policy.toml");
    let anyone = POLICY.replace("user = \"root\"", "anyone = true");
    fs::write(&policy, format!("{anyone}{resource}")).unwrap();
    let refused = manager.run(&["systemctl", "reload", SERVICE]);
    assert!(!refused.status.success(), "{refused:?}");
    let get = || manager.run_as(12345, &["fdbroker", "get", "10/3"]).status.code();
    assert_eq!(get(), Some(3), "the old policy is in force");
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");
    // Once by the broker, once by the command of the unit.
    wait_until("the journal says why", || {
        let entries = manager.journal(SERVICE);
        let is_said = |by: &str, text: &str| {
            entries.iter().any(|entry| {
                entry["SYSLOG_IDENTIFIER"] == by
                    && entry["MESSAGE"].as_str().is_some_and(|message| message.contains(text))
            })
        };
        is_said("fdbrokerd", "resource \"later\": ")
            && is_said("fdbroker", "resource \"later\": ")
            && is_said("fdbroker", "the policy was not loaded")
    });
    manager.succeed(&["touch", "/run/later"]);
    manager.succeed(&["systemctl", "reload", SERVICE]);
    assert_eq!(get(), Some(4), "the new policy is in force");
    manager.end();
}

#[test]
fn a_stopped_journald_keeps_nobody_waiting_and_what_was_dropped_is_told_when_it_goes_on() {
    const REQUESTS: u64 = 8000;
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("a stopped journald", &reason),
    };
    manager.succeed(&["systemctl", "start", SERVICE]);
    let mut peer = Peer::connect(&manager.path(PATH)).unwrap();
    peer.add((10, 1), "kept").done();
    wait_for_record(&manager, "granted", "add");
    let journald = process::named_below(manager.init(), "systemd-journal");
    process::signal(journald, Signal::STOP);
    for _ in 0..REQUESTS {
        assert_eq!(peer.get((10, 1)).payload(), b"kept");
    }
    // Another peer, too.
    Peer::connect(&manager.path(PATH)).unwrap().get((10, 1)).payload();
    process::signal(journald, Signal::CONT);
    let mut told = (0, 0);
    wait_until("each request is in the journal or told to be missing", || {
        let entries = manager.journal(SERVICE);
        let got = entries.iter().filter(|entry| entry["FDBROKER_RIGHT"] == "get").count() as u64;
        let dropped = entries.iter().filter_map(|entry| dropped(entry["MESSAGE"].as_str()?)).sum();
        told = (got, dropped);
        got + dropped == REQUESTS + 1
    });
    assert!(told.0 > 0 && told.1 > 0, "{told:?}");
    manager.end();
}

/// How many entries a message says were dropped.
fn dropped(message: &str) -> Option<u64> {
    message
        .strip_prefix("log entries dropped: ")?
        .strip_suffix("; journald did not read them")?
        .parse()
        .ok()
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

const BY_UNIT: &str = r#"
version = 1

[tags.services]
id = 10

[[rules]]
id = "the service may"
allow = ["get", "add"]
slots = ["services/*"]
unit = "vpn@*.service"

[[rules]]
id = "what runs in this slice may see"
allow = ["list"]
slots = ["services/*"]
cgroup = "/system.slice/**"
"#;

#[test]
fn a_service_has_what_its_unit_is_allowed_and_nobody_else_has() {
    let manager = match ServiceManager::boot(BY_UNIT) {
        Ok(manager) => manager,
        Err(reason) => return skip("rights by unit", &reason),
    };
    manager.succeed(&["systemctl", "start", SOCKET]);
    let run_in = |unit: &str, command: &[&str]| {
        let unit = format!("--unit={unit}");
        let run = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", &unit];
        manager.run(&[&run, command].concat()).status.code()
    };
    let add = &["/usr/local/bin/fdbroker", "add", "10/3", "--payload", "/etc/hostname"];
    let get = &["/usr/local/bin/fdbroker", "get", "10/3"];
    assert_eq!(run_in("vpn@one.service", add), Some(0), "{}", status(&manager));
    assert_eq!(run_in("vpn@two.service", get), Some(0));
    assert_eq!(run_in("vpn.service", get), Some(3), "another unit");
    assert_eq!(run_in("not-vpn@one.service", get), Some(3), "another unit");
    assert_eq!(manager.run(&["fdbroker", "get", "10/3"]).status.code(), Some(3), "no unit");
    let granted = wait_for_record(&manager, "granted", "add");
    assert_eq!(granted["FDBROKER_UNIT"], "vpn@one.service");
    let listed = &["/usr/local/bin/fdbroker", "list"];
    assert_eq!(run_in("any.service", listed), Some(0));
    manager.end();
}

/// A service of a user, which calls itself as one of the system's that has rights.
const OF_A_USER: &str = "[Service]
Type=oneshot
ExecStart=sh -c 'fdbroker get 10/3; echo $? >/tmp/by-its-name; fdbroker get 10/4; echo $? >/tmp/by-its-user'
";

#[test]
fn a_service_of_a_user_has_what_its_user_may_whatever_it_calls_itself() {
    let policy = format!(
        "{BY_UNIT}
[[rules]]
id = \"the own services of this user may get\"
allow = [\"get\"]
slots = [\"services/4\"]
user = 1
unit = \"user@1.service\"
"
    );
    let manager = match ServiceManager::boot(&policy) {
        Ok(manager) => manager,
        Err(reason) => return skip("rights of a user's own services", &reason),
    };
    manager.succeed(&["systemctl", "start", SOCKET]);
    let units = manager.path("/etc/systemd/user");
    fs::write(units.join("vpn@one.service"), OF_A_USER).unwrap();
    let wanted = units.join("default.target.wants");
    fs::create_dir_all(&wanted).unwrap();
    symlink("../vpn@one.service", wanted.join("vpn@one.service")).unwrap();
    // Without the service that makes it when somebody logs in.
    manager.succeed(&["install", "-d", "-m", "700", "-o", "1", "-g", "1", "/run/user/1"]);
    let drop_in = manager.path("/etc/systemd/system/user@1.service.d");
    fs::create_dir_all(&drop_in).unwrap();
    let alone = "[Unit]\nRequires=\n[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/1\n";
    fs::write(drop_in.join("alone.conf"), alone).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    let started = manager.run(&["systemctl", "start", "user@1.service"]);
    assert!(started.status.success(), "{:?}", manager.journal("user@1.service"));
    let said = |file: &str| {
        wait_for("the user's service has asked", || {
            let said = fs::read_to_string(manager.path(file)).ok();
            said.filter(|said| said.ends_with('\n'))
        })
    };
    assert_eq!(said("/tmp/by-its-name"), "3\n", "{}", status(&manager));
    // It may get what is in the slot, where nothing is.
    assert_eq!(said("/tmp/by-its-user"), "4\n", "{}", status(&manager));
    let refused = wait_for_record(&manager, "refused", "get");
    assert_eq!(refused["FDBROKER_UNIT"], "user@1.service");
    manager.end();
}

/// The broker's two processes, as they are numbered outside.
fn processes(manager: &ServiceManager) -> (u32, u32) {
    let supervisor = process::named_below(manager.init(), "fdbrokerd");
    let worker = wait_for("there is a worker", || {
        process::workers(supervisor).into_iter().find(|pid| process::runs(*pid))
    });
    (supervisor, worker)
}

fn keep_something(manager: &ServiceManager) {
    let added = manager.run_with("kept", &["fdbroker", "add", "10/3", "--payload", "-"]);
    assert!(added.status.success(), "{added:?}\n{}", status(manager));
}

#[test]
fn neither_death_nor_stop_of_the_worker_ends_the_unit() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("the death of the worker under systemd", &reason),
    };
    manager.succeed(&["systemctl", "start", SERVICE]);
    keep_something(&manager);
    assert_eq!(manager.property(SERVICE, "OOMPolicy"), "continue");
    let main = manager.property(SERVICE, "MainPID");
    for signal in [Signal::KILL, Signal::STOP, Signal::HUP] {
        let (_, worker) = processes(&manager);
        process::signal(worker, signal);
        if signal != Signal::HUP {
            wait_until("another worker serves", || processes(&manager).1 != worker);
        }
        assert_eq!(manager.succeed(&["fdbroker", "get", "10/3"]), "kept", "{signal:?}");
    }
    // To every process of the unit, as an administrator sends it.
    manager.succeed(&["systemctl", "kill", "-s", "HUP", SERVICE]);
    manager.succeed(&["systemctl", "kill", "-s", "USR1", SERVICE]);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/3"]), "kept");
    assert_eq!(manager.property(SERVICE, "MainPID"), main);
    assert_eq!(manager.property(SERVICE, "NRestarts"), "0");
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");
    manager.end();
}

#[test]
fn a_supervisor_that_hangs_is_ended_by_the_watchdog() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("the watchdog of systemd", &reason),
    };
    manager.succeed(&["systemctl", "start", SERVICE]);
    assert_eq!(manager.property(SERVICE, "WatchdogUSec"), "30s");
    manager.succeed(&["systemctl", "stop", SERVICE]);
    let drop_in = manager.path("/etc/systemd/system/fdbrokerd.service.d");
    fs::create_dir(&drop_in).unwrap();
    let short = "[Service]\nWatchdogSec=3s\nTimeoutStopSec=3s\n";
    fs::write(drop_in.join("watchdog.conf"), short).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["systemctl", "start", SERVICE]);
    keep_something(&manager);
    let (supervisor, _) = processes(&manager);
    // It is left alone for as long as it runs.
    let restarted = || manager.property(SERVICE, "NRestarts") != "0";
    assert!(!happens_within(Duration::from_secs(7), restarted), "the watchdog ended it");
    process::signal(supervisor, Signal::STOP);
    wait_until("it is started again", || {
        manager.property(SERVICE, "NRestarts") == "1"
            && manager.property(SERVICE, "ActiveState") == "active"
    });
    keep_something(&manager);
    manager.end();
}

#[test]
fn clients_that_wait_are_served_once_the_policy_is_corrected() {
    let manager = match ServiceManager::boot("nonsense") {
        Ok(manager) => manager,
        Err(reason) => return skip("clients that wait under systemd", &reason),
    };
    manager.succeed(&["systemctl", "start", SOCKET]);
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..3).map(|_| scope.spawn(|| manager.run(&["fdbroker", "get", "10/3"]))).collect();
        wait_until("it has failed twice", || {
            manager.property(SERVICE, "NRestarts").parse::<u32>().unwrap() >= 2
        });
        assert_eq!(manager.property(SOCKET, "Result"), "success");
        let begun = beginnings(&manager);
        assert!(begun.len() >= 2, "{begun:?}");
        let apart = |two: &[u64]| two[1] - two[0] > 1_500_000;
        assert!(begun.windows(2).all(apart), "they follow each other too closely: {begun:?}");
        fs::write(manager.path("/etc/fdbroker/policy.toml"), POLICY).unwrap();
        for client in clients {
            let said = client.join().unwrap();
            // Nothing lies there.
            assert_eq!(said.status.code(), Some(4), "{said:?}");
        }
    });
    assert_eq!(manager.property(SERVICE, "ActiveState"), "active");
    manager.end();
}

/// When each process of the broker said its first word, in microseconds.
fn beginnings(manager: &ServiceManager) -> Vec<u64> {
    let mut begun = BTreeMap::new();
    for entry in manager.journal(SERVICE) {
        if entry["SYSLOG_IDENTIFIER"] == "fdbrokerd" {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            let when: u64 = text("__MONOTONIC_TIMESTAMP").parse().unwrap();
            begun.entry(text("_PID")).or_insert(when);
        }
    }
    let mut begun: Vec<_> = begun.into_values().collect();
    begun.sort_unstable();
    begun
}

#[test]
fn a_restart_of_the_socket_unit_alone_cuts_nobody_off() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("a restart of the socket unit", &reason),
    };
    manager.succeed(&["systemctl", "start", SOCKET]);
    keep_something(&manager);
    let main = manager.property(SERVICE, "MainPID");
    // The service manager refuses it while the broker listens.
    let refused = manager.run(&["systemctl", "restart", SOCKET]);
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/3"]), "kept");
    manager.succeed(&["systemctl", "stop", SOCKET]);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/3"]), "kept");
    assert_eq!(manager.property(SERVICE, "MainPID"), main);

    // Then it binds by itself; and both are as before once both were started again.
    manager.succeed(&["systemctl", "restart", SERVICE]);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/3"]), "kept");
    manager.succeed(&["systemctl", "stop", SERVICE]);
    manager.succeed(&["systemctl", "start", SOCKET]);
    keep_something(&manager);
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
    manager.end();
}

#[test]
fn no_number_of_starts_and_stops_makes_the_socket_fail() {
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip("many starts and stops of the units", &reason),
    };
    // More often than systemd allows by default in 10 seconds.
    for _ in 0..8 {
        manager.succeed(&["systemctl", "start", SOCKET]);
        manager.succeed(&["systemctl", "stop", SOCKET]);
    }
    manager.succeed(&["systemctl", "start", SOCKET]);
    // A client starts the broker, and an administrator stops it.
    let stops = "for i in $(seq 10); do fdbroker get 10/3; systemctl stop fdbrokerd; done; true";
    manager.succeed(&["sh", "-c", stops]);
    assert_eq!(manager.property(SOCKET, "Result"), "success");
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
    assert_eq!(manager.property(SOCKET, "TriggerLimitIntervalUSec"), "0");
    keep_something(&manager);
    manager.end();
}
