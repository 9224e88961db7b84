//! Leases outlive the broker: who holds a connection still does, and can still be made to give it up.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fdbroker_tests::{HelperProcess, skip, systemd::ServiceManager, wait_for, wait_until};
use serde_json::Value;

use super::ends::{SERVICE, ways};

const SOCKET: &str = "/run/fdbroker/fdbroker.sock";

/// The server, as the list of leases has it.
const PEER: &str = " peer=\"unix:/run/server.sock\"";

const POLICY: &str = r#"
version = 1

[tags.databases]
id = 10

[resources.database]
slot = "databases/0"
connect = "unix:/run/server.sock"
holders = 1
wait = "100ms"

[[rules]]
id = "root uses the database"
allow = ["get"]
slots = ["database"]
user = "root"

[[rules]]
id = "root operates"
allow = ["operate"]
user = "root"
"#;

/// Accepts connections, and keeps them.
const SERVER: &str = "import os, socket
s = socket.socket(socket.AF_UNIX); s.bind('/run/server.sock'); os.chmod('/run/server.sock', 0o666)
s.listen(9); kept = []
while True: kept.append(s.accept())";

fn booted(what: &str) -> Option<ServiceManager> {
    let manager = ServiceManager::boot(POLICY).map_err(|reason| skip(what, &reason)).ok()?;
    manager.succeed(&["systemd-run", "--quiet", "--unit=server", "python3", "-c", SERVER]);
    wait_until("the server listens", || manager.path("/run/server.sock").exists());
    manager.succeed(&["systemctl", "start", SERVICE]);
    Some(manager)
}

#[track_caller]
fn connection(process: &HelperProcess) -> UnixStream {
    let mut peer = process.try_connect(Path::new(SOCKET), None).unwrap().greeted();
    UnixStream::from(peer.get((10, 0)).descriptor())
}

fn leases(manager: &ServiceManager) -> String {
    manager.succeed(&["fdbroker", "leases"])
}

#[track_caller]
fn is_mirrored(manager: &ServiceManager) {
    wait_until("nothing is to be sent", || {
        let said = manager.succeed(&["fdbroker", "status"]);
        said.lines().any(|line| line.starts_with("mirror=") && line.contains(" 0 to be sent"))
    });
}

#[test]
fn a_lease_is_held_and_revoked_after_a_restart_and_a_crash_of_the_broker() {
    let Some(manager) = booted("leases that outlive the broker") else { return };
    let process = HelperProcess::within(&manager);
    let mut held = connection(&process);
    held.set_read_timeout(Some(fdbroker_tests::PATIENCE)).unwrap();
    for (way, end) in ways() {
        is_mirrored(&manager);
        end(&manager);
        let listed = leases(&manager);
        assert!(listed.lines().count() == 1 && listed.contains("10/0"), "{way}: {listed}");
        assert!(listed.contains(PEER) && listed.contains(" session=none"), "{way}: {listed}");
        // Its place is taken.
        let refused = manager.run(&["fdbroker", "get", "10/0"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("EBUSY"), "{way}: {refused:?}");
    }
    manager.succeed(&["fdbroker", "revoke", "10/0"]);
    assert_eq!(held.read(&mut [0; 9]).unwrap(), 0, "it was shut down");
    wait_until("its place is free", || manager.run(&["fdbroker", "get", "10/0"]).status.success());
    let is_end = |entry: &Value| entry["FDBROKER_KIND"] == "lease-end";
    let end = wait_for("its end is recorded", || manager.journal(SERVICE).into_iter().find(is_end));
    assert_eq!(end["FDBROKER_PEER"], "unix:/run/server.sock", "{end}");
    manager.end();
}

#[test]
fn a_lease_whose_holder_ended_while_there_was_no_broker_ends() {
    let Some(manager) = booted("leases whose holder ends before the next broker starts") else {
        return;
    };
    let process = HelperProcess::within(&manager);
    let mut held = connection(&process);
    held.set_read_timeout(Some(fdbroker_tests::PATIENCE)).unwrap();
    is_mirrored(&manager);
    // It notices nothing any more.
    manager.succeed(&["systemctl", "kill", "-s", "STOP", SERVICE]);
    process.kill();
    let [.., (_, kill_both)] = ways();
    kill_both(&manager);
    assert_eq!(held.read(&mut [0; 9]).unwrap(), 0, "it was shut down");
    wait_until("its place is free", || manager.run(&["fdbroker", "get", "10/0"]).status.success());
    manager.end();
}
