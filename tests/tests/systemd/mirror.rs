//! What the service manager's store of descriptors is for: deposits outlive the broker, however it ends.

use fdbroker_tests::{process, skip, systemd::ServiceManager, wait_until};

use super::ends::{SERVICE, ways};

const POLICY: &str = r#"
version = 1

[tags.services]
id = 10
accept = ["unix-listener", "tcp-listener", "file", "none"]

[[rules]]
id = "root keeps things here, and sees the status"
allow = ["*"]
slots = ["services/*"]
user = "root"

[[rules]]
id = "root operates"
allow = ["operate"]
user = "root"
"#;

/// Writes a word into a new connection, and leaves.
const KNOCK: &str =
    "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/kept'); s.send(b'knock')";
/// Accepts a connection on descriptor 3, and prints what is in it.
const OPEN: &str =
    "import socket; s = socket.socket(fileno=3); print(s.accept()[0].recv(9).decode())";

fn booted(what: &str) -> Option<ServiceManager> {
    let manager = ServiceManager::boot(POLICY).map_err(|reason| skip(what, &reason)).ok()?;
    manager.succeed(&["systemctl", "start", SERVICE]);
    Some(manager)
}

/// Waits until the status has no change left to be sent.
#[track_caller]
fn is_mirrored(manager: &ServiceManager, deposits: usize) {
    is_mirrored_as(manager, &format!("mirror={deposits} stored, 0 here only, 0 to be sent"));
}

/// Waits until a line of the status begins with this.
#[track_caller]
fn is_mirrored_as(manager: &ServiceManager, line: &str) {
    wait_until(line, || {
        let said = manager.succeed(&["fdbroker", "status"]);
        said.lines().any(|said| said.starts_with(line))
    });
}

#[track_caller]
fn add(manager: &ServiceManager, payload: &str, command: &[&str]) {
    let added = manager.run_with(payload, &[&["fdbroker", "add"], command].concat());
    assert!(added.status.success(), "{added:?}");
}

#[test]
fn deposits_are_there_after_a_restart_and_a_crash_of_the_broker() {
    let Some(manager) = booted("deposits that outlive the broker") else { return };
    add(&manager, "secret", &["10/0", "--payload", "-"]);
    add(&manager, "", &["10/1", "--listen", "unix:/run/kept"]);
    add(&manager, "", &["10/2", "--listen", "unix:/run/other"]);
    manager.succeed(&["fdbroker", "del", "10/2"]);
    for (way, end) in ways() {
        is_mirrored(&manager, 2);
        // It waits in the queue of the listening socket.
        manager.succeed(&["python3", "-c", KNOCK]);
        end(&manager);
        assert_eq!(manager.succeed(&["fdbroker", "get", "10/0"]), "secret", "{way}");
        let accepted = &["fdbroker", "exec", "10/1", "--", "python3", "-c", OPEN];
        assert_eq!(manager.succeed(accepted), "knock\n", "{way}");
        let deleted = manager.run(&["fdbroker", "get", "10/2"]);
        assert_eq!(deleted.status.code(), Some(4), "{way}: {deleted:?}");
    }
    // Nothing is left of what was deleted, nor of the journals before.
    let stored = manager.property(SERVICE, "NFileDescriptorStore");
    assert_eq!(stored, "2", "the listening socket and the journal");
    manager.end();
}

#[test]
fn a_socket_file_that_was_deleted_comes_back_as_the_log_says_with_the_deposits() {
    let what = "a deleted socket file of the service manager's";
    let manager = match ServiceManager::boot(POLICY) {
        Ok(manager) => manager,
        Err(reason) => return skip(what, &reason),
    };
    manager.succeed(&["systemctl", "start", "fdbrokerd.socket"]);
    add(&manager, "secret", &["10/0", "--payload", "-"]);
    is_mirrored(&manager, 1);
    manager.succeed(&["rm", "/run/fdbroker/fdbroker.sock"]);
    let cure = "systemctl stop fdbrokerd.socket; systemctl restart fdbrokerd.service";
    let is_said = |entry: &serde_json::Value| {
        entry["MESSAGE"].as_str().is_some_and(|message| message.contains(cure))
    };
    wait_until("the log says how", || manager.journal(SERVICE).iter().any(is_said));
    manager.succeed(&["sh", "-c", cure]);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/0"]), "secret");
    manager.end();
}

/// Deposits again the descriptor that another slot has.
fn duplicate(manager: &ServiceManager, from: &str, to: &str) {
    manager.succeed(&["fdbroker", "exec", from, "--", "fdbroker", "add", to, "--fd", "3"]);
}

#[test]
fn duplicates_come_back_and_what_is_deleted_frees_its_address_at_once() {
    let Some(manager) = booted("duplicates that outlive the broker") else { return };
    add(&manager, "", &["10/1", "--listen", "unix:/run/kept"]);
    duplicate(&manager, "10/1", "10/2");
    duplicate(&manager, "10/2", "10/3");
    manager.succeed(&["fdbroker", "del", "10/1"]);
    // A file of a file system without a device of its own, as a user's server would have.
    add(&manager, "", &["10/4", "--open", "/proc/version"]);
    // One in memory.
    manager.succeed(&["touch", "/run/kept.file"]);
    add(&manager, "", &["10/5", "--open", "/run/kept.file"]);
    let listed = manager.succeed(&["fdbroker", "list"]);
    let here: Vec<_> = listed.lines().filter(|line| line.contains("here-only")).collect();
    assert!(here.len() == 1 && here[0].starts_with("10/4 "), "{listed}");
    manager.succeed(&["systemctl", "restart", SERVICE]);
    for (slot, status) in [("10/1", 4), ("10/2", 0), ("10/3", 0), ("10/4", 4), ("10/5", 0)] {
        let got = manager.run(&["fdbroker", "exec", slot, "--", "true"]);
        assert_eq!(got.status.code(), Some(status), "{slot}: {got:?}");
    }
    for slot in ["10/2", "10/3"] {
        manager.succeed(&["python3", "-c", KNOCK]);
        let accepted = &["fdbroker", "exec", slot, "--", "python3", "-c", OPEN];
        assert_eq!(manager.succeed(accepted), "knock\n", "{slot}");
    }
    for _ in 0..5 {
        add(&manager, "", &["10/6", "--listen", "tcp:127.0.0.1:7777"]);
        manager.succeed(&["fdbroker", "del", "10/6"]);
    }
    manager.end();
}

#[test]
fn what_was_acknowledged_the_moment_before_a_restart_is_there() {
    let Some(manager) = booted("a restart right after a deposit") else { return };
    for round in 0..5 {
        let (slot, path) = (format!("10/{round}"), format!("unix:/run/kept.{round}"));
        add(&manager, "", &[&slot, "--listen", &path]);
        manager.succeed(&["systemctl", "restart", SERVICE]);
        manager.succeed(&["fdbroker", "exec", &slot, "--", "true"]);
    }
    manager.end();
}

#[test]
fn a_broker_of_systemd_is_not_replaced_from_outside_and_says_what_is_to_be_done() {
    let Some(manager) = booted("a broker of systemd that is to be replaced") else { return };
    add(&manager, "secret", &["10/0", "--payload", "-"]);
    let before = manager.property(SERVICE, "MainPID");
    let refused = manager.run(&["fdbrokerd", "--replace"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("use systemctl restart fdbrokerd"), "{said}");
    assert_eq!(manager.property(SERVICE, "MainPID"), before);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/0"]), "secret");
    manager.end();
}

/// What the memory of the journal has.
fn journal(manager: &ServiceManager) -> Vec<u8> {
    let broker = process::named_below(manager.init(), "fdbrokerd");
    let all = std::fs::read_dir(format!("/proc/{broker}/fd")).unwrap();
    let is_journal = |path: &std::path::PathBuf| {
        let target = std::fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().contains("memfd:fdbroker-journal")
    };
    let path = all.map(|entry| entry.unwrap().path()).find(is_journal).expect("there is a journal");
    std::fs::read(path).unwrap()
}

#[test]
fn the_payload_of_a_deleted_deposit_is_not_in_the_memory_that_is_stored() {
    let Some(manager) = booted("payloads in the journal") else { return };
    let is_there =
        |text: &str| journal(&manager).windows(text.len()).any(|bytes| bytes == text.as_bytes());
    add(&manager, "geheim-of-the-first", &["10/0", "--payload", "-"]);
    add(&manager, "geheim-of-the-second", &["10/1", "--payload", "-"]);
    wait_until("both are there", || {
        is_there("geheim-of-the-first") && is_there("geheim-of-the-second")
    });
    manager.succeed(&["fdbroker", "del", "10/0"]);
    wait_until("it is wiped", || !is_there("geheim-of-the-first"));
    assert!(is_there("geheim-of-the-second"));
    // A replaced one leaves too.
    add(&manager, "another", &["10/1", "--payload", "-"]);
    wait_until("it is wiped", || !is_there("geheim-of-the-second"));
    wait_until("the new one is there", || is_there("another"));
    manager.succeed(&["systemctl", "restart", SERVICE]);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/1"]), "another");
    manager.succeed(&["fdbroker", "del", "10/1"]);
    wait_until("it is wiped", || !is_there("another"));
    manager.end();
}

/// Leaves descriptors in the store before the broker starts: two newer journals that it cannot read, second ones under
/// names that are there, and what nobody names.
const LEAVE: &str = r#"#!/usr/bin/python3
import array, os, socket
def store(name, content):
    memory = os.memfd_create('left')
    os.write(memory, content)
    to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    to.connect(os.environ['NOTIFY_SOCKET'].replace('@', '\0', 1))
    said = f'FDSTORE=1\nFDPOLL=0\nFDNAME={name}'.encode()
    to.sendmsg([said], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [memory]))])
store('jff', b'fdbroker' + (77).to_bytes(4, 'little') + bytes(20))
store('jfe', b'garbage' * 1000)
store('j1', b'garbage' * 10)
store('o2', b'another')
store('offff', b'named by no journal')
store('jffffffffffffffff', b'of nobody')
store('stored', b'of nobody')
"#;

#[test]
fn what_is_garbled_or_foreign_in_the_store_hides_nothing_else() {
    let Some(manager) = booted("a garbled store") else { return };
    add(&manager, "secret", &["10/0", "--payload", "-"]);
    add(&manager, "", &["10/1", "--listen", "unix:/run/kept"]);
    add(&manager, "", &["10/2", "--listen", "unix:/run/other"]);
    is_mirrored(&manager, 3);
    std::fs::write(manager.path("/usr/local/bin/leave"), LEAVE).unwrap();
    manager.succeed(&["chmod", "755", "/usr/local/bin/leave"]);
    let drop_in = "/run/systemd/system/fdbrokerd.service.d";
    manager.succeed(&["mkdir", "-p", drop_in]);
    let lines = "[Service]\nNotifyAccess=all\nExecStartPre=/usr/local/bin/leave\n";
    std::fs::write(manager.path(drop_in).join("leave.conf"), lines).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    manager.succeed(&["systemctl", "restart", SERVICE]);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/0"]), "secret");
    manager.succeed(&["fdbroker", "exec", "10/1", "--", "true"]);
    // Which of the two it is, nothing says.
    assert_eq!(manager.run(&["fdbroker", "exec", "10/2", "--", "true"]).status.code(), Some(4));
    let status = manager.succeed(&["fdbroker", "status"]);
    assert!(status.contains("degraded=mirror\n"), "{status}");
    assert!(status.contains("journal damaged at start\n"), "{status}");
    for (said, priority) in [
        ("has version 77; this broker reads versions ", "3"),
        ("; an older one is used: what was deposited since is lost, ", "3"),
        ("and are closed: ", "3"),
        ("are there twice, or cannot be duplicated: 1 (10/2)", "3"),
        ("under the name of the journal", "4"),
        ("are not the broker's: 2 (", "4"),
    ] {
        is_logged(&manager, said, priority);
    }
    // All is as it should be from then on.
    std::fs::remove_file(manager.path(drop_in).join("leave.conf")).unwrap();
    manager.succeed(&["systemctl", "daemon-reload"]);
    is_mirrored_as(&manager, "mirror=2 stored, 0 here only, 0 to be sent");
    manager.succeed(&["systemctl", "restart", SERVICE]);
    assert_eq!(manager.succeed(&["fdbroker", "get", "10/0"]), "secret");
    let status = manager.succeed(&["fdbroker", "status"]);
    assert!(status.contains("degraded=none\n"), "{status}");
    manager.end();
}

/// Waits for an entry in the journal.
#[track_caller]
fn is_logged(manager: &ServiceManager, said: &str, priority: &str) {
    let is_it = |entry: &serde_json::Value| {
        entry["PRIORITY"] == priority
            && entry["MESSAGE"].as_str().is_some_and(|message| message.contains(said))
    };
    wait_until(said, || manager.journal(SERVICE).iter().any(is_it));
}
