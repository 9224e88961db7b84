//! A policy that does not load at start: the broker starts under the last good one, and says so.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use fdbroker_tests::{
    Builder, Daemon, Directory, PATIENCE, SmallDisk, fixtures, is_root, needs_root, wait_until,
};
use rustix::process::Signal;

use super::{logs, status_has};

const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";

/// The files that outlive a broker: its policy, and the directory for the last good one.
struct Machine(Directory);

impl Machine {
    /// With a policy that allows everything in tag 1.
    fn new() -> Self {
        let machine = Self(Directory::new());
        fs::create_dir(machine.0.join("policy.d")).unwrap();
        fs::set_permissions(machine.0.join("policy.d"), fs::Permissions::from_mode(0o755)).unwrap();
        machine.write(&format!("{}{OPERATORS}", fixtures::OPEN));
        machine
    }

    fn write(&self, body: &str) {
        let user = if is_root() { "[broker]\nuser = 64001\n" } else { "" };
        let new = self.0.file("new", format!("version = 1\n{user}{body}"), 0o644);
        fs::rename(new, self.policy()).unwrap();
    }

    fn policy(&self) -> PathBuf {
        self.0.join("policy.toml")
    }

    fn copy(&self) -> PathBuf {
        self.0.join("state/last-good-policy.json")
    }

    fn broker(&self) -> Builder {
        let builder = Daemon::with_policy_file(&self.policy());
        builder.argument("--state-directory").argument(self.0.join("state"))
    }

    /// Has a broker serve under the policy until the copy of it is there.
    fn served(&self) {
        let mut daemon = self.broker().start();
        wait_until("the policy is kept", || keeps_one(&daemon));
        assert_eq!(daemon.end(Signal::TERM).code(), Some(0));
    }

    /// Puts a drop-in there that does not load.
    fn break_it(&self) {
        self.0.file(
            "policy.d/50-bad.toml",
            "version = 1\n[[rules]]\nid = \"x\"\nallwo = 1\n",
            0o644,
        );
    }
}

fn keeps_one(daemon: &Daemon) -> bool {
    let status = daemon.says(&["status"]);
    status.lines().any(|line| line.starts_with("last_good_policy=") && line.contains(" sha256 "))
}

fn is_failing(daemon: &Daemon) -> bool {
    daemon.says(&["status"]).contains("last_good_policy=failing: ")
}

#[test]
fn a_copy_that_is_there_is_not_called_none_after_a_start() {
    let machine = Machine::new();
    machine.served();
    let daemon = machine.broker().start();
    let status = daemon.says(&["status"]);
    assert!(!status.contains("last_good_policy=none"), "{status}");
}

#[test]
fn a_policy_that_does_not_load_at_start_is_replaced_by_the_last_good_one() {
    let machine = Machine::new();
    machine.served();
    machine.break_it();
    let daemon = machine.broker().start();
    daemon.connect().add((1, 0), "kept").done();
    let log = daemon.log().text();
    assert!(log.contains("policy.d/50-bad.toml:4:1: unknown key"), "{log}");
    assert!(log.contains("the broker starts under the last good one, of 20"), "{log}");
    let errors = daemon.log().lines().into_iter().filter(|line| line.level == "error");
    assert!(errors.count() >= 2, "{log}");
    let status = daemon.says(&["status"]);
    assert!(status.contains("degraded=policy\npolicy_from=last good, of 20"), "{status}");
    let mut records = daemon.log().audit().into_iter().filter(|line| line.kind == "reload");
    let record = records.next_back().expect("it is recorded");
    assert_eq!(record.verdict, "failed");
    assert!(record.reason.starts_with("started under the last good policy of "), "{record:?}");
}

#[test]
fn the_corrected_policy_takes_its_place_by_itself() {
    let machine = Machine::new();
    machine.served();
    machine.break_it();
    let daemon = machine.broker().start();
    machine.write(&format!(
        "{}{OPERATORS}",
        fixtures::OPEN.replace("allow = [\"*\"]", "allow = [\"get\"]")
    ));
    fs::remove_file(machine.0.join("policy.d/50-bad.toml")).unwrap();
    wait_until("the new policy is in force", || status_has(&daemon, "policy_from=files"));
    logs(&daemon, "policy 1 is in force");
    assert_eq!(daemon.connect().add((1, 0), "x").errno(), libc::EACCES);
    assert!(status_has(&daemon, "degraded=none"));
    logs(&daemon, "the policy loads again");
    // Later changes wait for a reload, as ever.
    machine.break_it();
    assert!(status_has(&daemon, "degraded=none"));
}

#[test]
fn the_service_manager_is_told_that_an_older_policy_is_in_force() {
    let machine = Machine::new();
    machine.served();
    machine.break_it();
    let path = machine.0.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _daemon = machine.broker().environment("NOTIFY_SOCKET", &path).start();
    let mut message = [0; 4096];
    wait_until("STATUS= has come", || {
        let length = socket.recv(&mut message).unwrap();
        let text = String::from_utf8_lossy(&message[..length]);
        text.contains("READY=1") && text.contains("STATUS=degraded: the policy does not load")
    });
}

#[test]
fn check_tells_that_the_running_broker_is_under_an_older_policy() {
    let machine = Machine::new();
    machine.served();
    machine.break_it();
    let daemon = machine.broker().start();
    let policy = machine.policy();
    let check = ["check", "--policy", policy.to_str().unwrap()];
    let said = daemon.complains(1, &check);
    assert!(said.contains("the running broker is under an older policy"), "{said}");
    fs::remove_file(machine.0.join("policy.d/50-bad.toml")).unwrap();
    daemon.says(&["reload"]);
    let said = daemon.run(&check);
    // A user is told that root's broker would miss an account.
    assert!(said.status == 0 && !said.err.contains("older policy"), "{said:?}");
}

#[test]
fn what_a_reload_puts_in_force_is_the_last_good_policy() {
    let machine = Machine::new();
    let mut daemon = machine.broker().start();
    wait_until("the policy is kept", || keeps_one(&daemon));
    let before = fs::read_to_string(machine.copy()).unwrap();
    machine.write(&format!(
        "{}{OPERATORS}",
        fixtures::OPEN.replace("allow = [\"*\"]", "allow = [\"get\"]")
    ));
    daemon.says(&["reload"]);
    wait_until("the new policy is kept", || fs::read_to_string(machine.copy()).unwrap() != before);
    assert_eq!(daemon.end(Signal::TERM).code(), Some(0));
    machine.write("nonsense");
    let daemon = machine.broker().start();
    assert_eq!(daemon.connect().add((1, 0), "x").errno(), libc::EACCES);
    let metadata = |path: &PathBuf| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((metadata(&machine.copy()), metadata(&machine.0.join("state"))), (0o600, 0o700));
}

#[test]
fn a_reload_that_failed_is_in_the_status_until_one_succeeds() {
    let machine = Machine::new();
    let daemon = machine.broker().start();
    assert!(status_has(&daemon, "last_reload=none"), "{}", daemon.says(&["status"]));
    machine.break_it();
    assert_eq!(daemon.run(&["reload"]).status, 1);
    let status = daemon.says(&["status"]);
    assert!(status.contains("degraded=reload\n"), "{status}");
    assert!(
        status.contains("last_reload=failed, 20") && status.contains("50-bad.toml"),
        "{status}"
    );
    fs::remove_file(machine.0.join("policy.d/50-bad.toml")).unwrap();
    daemon.says(&["reload"]);
    let status = daemon.says(&["status"]);
    assert!(
        status.contains("degraded=none\n") && status.contains("last_reload=ok, 20"),
        "{status}"
    );
}

#[test]
fn without_a_copy_a_policy_that_does_not_load_keeps_the_broker_from_starting() {
    let machine = Machine::new();
    machine.break_it();
    let (status, said) = machine.broker().fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("50-bad.toml") && !said.contains("last good"), "{said}");
}

#[test]
fn a_copy_that_was_changed_or_that_others_could_write_is_not_believed() {
    let machine = Machine::new();
    machine.served();
    machine.break_it();
    let text = fs::read_to_string(machine.copy()).unwrap();
    fs::write(machine.copy(), text.replace("all to everyone", "all to Everyone")).unwrap();
    let (status, said) = machine.broker().fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("50-bad.toml"), "{said}");
    assert!(said.contains("is not used: its hash is wrong"), "{said}");
    fs::write(machine.copy(), text).unwrap();
    fs::set_permissions(machine.copy(), fs::Permissions::from_mode(0o620)).unwrap();
    let (status, said) = machine.broker().fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("others than its owner may use it"), "{said}");
    fs::set_permissions(machine.copy(), fs::Permissions::from_mode(0o600)).unwrap();
    drop(machine.broker().start());
}

#[test]
fn a_copy_that_belongs_to_another_user_is_not_believed() {
    if !needs_root("a copy of the policy that belongs to another user") {
        return;
    }
    let machine = Machine::new();
    machine.served();
    machine.break_it();
    std::os::unix::fs::chown(machine.copy(), Some(64102), None).unwrap();
    let (status, said) = machine.broker().fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("belongs to user 64102"), "{said}");
}

#[test]
fn a_policy_file_that_has_gone_is_not_replaced_by_the_last_good_one() {
    let machine = Machine::new();
    machine.served();
    fs::remove_file(machine.policy()).unwrap();
    let (status, said) = machine.broker().fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("there is no policy file"), "{said}");
}

#[test]
fn a_broker_that_tries_a_policy_out_keeps_no_copy() {
    let daemon = super::daemon();
    assert!(status_has(&daemon, "last_good_policy=off"), "{}", daemon.says(&["status"]));
    let machine = Machine::new();
    let state = machine.0.join("state");
    let builder =
        Daemon::with_policy_file(&machine.policy()).environment("STATE_DIRECTORY", &state);
    drop(builder.argument("--state-directory").argument("none").start());
    assert!(!state.exists());
    let builder =
        Daemon::with_policy_file(&machine.policy()).environment("STATE_DIRECTORY", &state);
    let daemon = builder.start();
    wait_until("the policy is kept", || keeps_one(&daemon));
    assert!(machine.copy().exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_told_once_and_the_broker_serves() {
    let machine = Machine::new();
    machine.0.file("state", "no directory", 0o644);
    let daemon = machine.broker().start();
    wait_until("the failure is told", || is_failing(&daemon));
    logs(&daemon, "the policy in force cannot be kept as the last good one");
    assert!(status_has(&daemon, "degraded=last-good"), "{}", daemon.says(&["status"]));
    daemon.connect().is_served((1, 0));
}

/// A policy that allows less than the first one of a [`Machine`].
fn without_add() -> String {
    format!("{}{OPERATORS}", fixtures::OPEN.replace("allow = [\"*\"]", "allow = [\"get\"]"))
}

#[test]
fn a_copy_that_cannot_be_removed_does_not_bring_rights_back() {
    let Some(disk) = SmallDisk::mount("a state directory that becomes read-only") else { return };
    let machine = Machine::new();
    let broker = || {
        let builder = Daemon::with_policy_file(&machine.policy()).socket(machine.0.join("socket"));
        builder.argument("--state-directory").argument(disk.path())
    };
    let mut daemon = broker().start();
    wait_until("the policy is kept", || keeps_one(&daemon));
    assert!(!machine.0.join("socket.policy").exists(), "there is nothing to note");
    disk.make_read_only();
    machine.write(&without_add());
    daemon.says(&["reload"]);
    wait_until("the failure is told", || is_failing(&daemon));
    let log = daemon.log().text();
    assert!(log.contains("make its directory writable; the older copy cannot be removed"), "{log}");
    assert!(status_has(&daemon, "degraded=last-good"), "{}", daemon.says(&["status"]));
    assert_eq!(daemon.end(Signal::TERM).code(), Some(0));
    machine.break_it();
    let (status, said) = broker().fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("another policy was in force after it"), "{said}");
    assert!(said.contains("socket.policy"), "{said}");
}

#[test]
fn a_full_disk_is_no_reason_to_change_the_unit() {
    let Some(disk) = SmallDisk::mount("a full state directory") else { return };
    let machine = Machine::new();
    disk.fill();
    let builder = Daemon::with_policy_file(&machine.policy());
    let daemon = builder.argument("--state-directory").argument(disk.path()).start();
    wait_until("the failure is told", || is_failing(&daemon));
    let log = daemon.log().text();
    assert!(log.contains("make room in its file system; there is no older copy any more"), "{log}");
    assert!(!log.contains("StateDirectory="), "{log}");
    let left = fs::read_dir(disk.path()).unwrap().count();
    assert_eq!(left, 1, "only what fills it is there");
    disk.make_room();
    daemon.says(&["reload"]);
    wait_until("the policy is kept", || keeps_one(&daemon));
    assert!(status_has(&daemon, "degraded=none"));
}
