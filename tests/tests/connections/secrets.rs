//! Passwords: how one must be kept, and where it is found after it was used: in no memory, no environment, no log.

use fdbroker_tests::process::is_in_memory;
use fdbroker_tests::{Daemon, HelperProcess, Postgres, needs_root};

use crate::resource::{SLOT, connection, daemon, logged_in, tcp};

/// Made of parts, so that the text of this program is not found.
fn password() -> String {
    ["geheim", "4711", "hunter", "2"].join("-")
}

#[test]
fn a_password_is_in_no_memory_after_the_log_in() {
    let what = "a password is in no memory after the log-in";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, "host all all 127.0.0.1/32 scram-sha-256") else {
        return;
    };
    server.execute(&format!("CREATE ROLE orders LOGIN PASSWORD '{}'", password()));
    let daemon = daemon(&tcp(server.port()), &password(), "");
    let caller = HelperProcess::user(64032);
    let (socket, payload) = connection(caller.connect(&daemon).get(SLOT), &daemon);
    let _kept = caller.keep(socket);
    let wanted = password();
    assert!(is_in_memory(std::process::id(), wanted.as_bytes()), "this test finds nothing");
    for (pid, who) in [
        (daemon.supervisor_pid(), "supervisor"),
        (daemon.worker_pid(), "worker"),
        (caller.pid(), "caller"),
    ] {
        assert!(!is_in_memory(pid, wanted.as_bytes()), "it is in the {who}");
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains(&wanted), "{who}");
    }
    assert!(!daemon.log().text().contains(&wanted));
    assert!(!payload.windows(wanted.len()).any(|part| part == wanted.as_bytes()));
}

#[test]
fn check_says_when_a_credential_is_missing_or_readable_by_others() {
    let builder = Daemon::open();
    let password = builder.directory().join("password");
    let daemon = builder.policy(&logged_in(&tcp(1), &password, "")).start();
    let said = || {
        let said = daemon.run(&["check", daemon.policy_path().to_str().unwrap()]);
        assert_eq!(said.status, 0, "{said:?}");
        said.err
    };
    let note = format!("note: resource \"orders\": \"{}\": ", password.display());
    assert!(said().contains(&format!("{note}it cannot be opened: No such file")), "{}", said());
    daemon.directory().file("password", "hunter2", 0o644);
    assert!(said().contains(&format!("{note}others than its owner may use it")), "{}", said());
    daemon.directory().file("password", "hunter2", 0o600);
    assert!(!said().contains("orders"), "{}", said());
}
