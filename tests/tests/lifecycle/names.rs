//! Names of a policy that nobody has, or that cannot be looked up: the broker starts, and grants nothing by them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fdbroker_tests::binaries::binaries;
use fdbroker_tests::{
    Builder, Daemon, Directory, HelperProcess, is_root, needs_root, process, skip, wait_until,
};
use rustix::process::Signal;

use super::{logs, status_has};

/// Whom the stand-in for a directory service knows by the name `remote`.
const REMOTE: u32 = 64123;

const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";

/// Takes the place of the C library's lookup of `remote`: it does not return as long as the file `hangs` is there, it fails
/// as long as `down` is, and nobody has the name as long as `gone` is.
const STAND_IN: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

int getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size,
               struct passwd **found) {
    if (strcmp(name, "remote") != 0) {
        int (*real)(const char *, struct passwd *, char *, size_t, struct passwd **) =
            dlsym(RTLD_NEXT, "getpwnam_r");
        return real(name, entry, buffer, size, found);
    }
    *found = NULL;
    while (access(DIRECTORY "/hangs", F_OK) == 0)
        usleep(20000);
    if (access(DIRECTORY "/down", F_OK) == 0)
        return errno = EIO;
    if (access(DIRECTORY "/gone", F_OK) == 0)
        return 0;
    memset(entry, 0, sizeof *entry);
    strcpy(buffer, "remote");
    entry->pw_name = entry->pw_passwd = entry->pw_gecos = entry->pw_dir = entry->pw_shell = buffer;
    entry->pw_uid = entry->pw_gid = 64123;
    *found = entry;
    return 0;
}
"#;

/// A machine whose users come from a directory service that can be down.
struct Machine {
    files: Directory,
    stand_in: PathBuf,
}

impl Machine {
    /// `None` without a C compiler.
    fn new(body: &str) -> Option<Self> {
        let files = Directory::new();
        let source = files.file("stand_in.c", STAND_IN, 0o644);
        let stand_in = files.join("stand_in.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&stand_in).arg(&source).arg("-ldl");
        compiler.arg(format!("-DDIRECTORY=\"{}\"", files.path().display()));
        let Ok(status) = compiler.status() else {
            skip("names that cannot be looked up", "there is no C compiler");
            return None;
        };
        assert!(status.success(), "the stand-in is not compiled");
        let machine = Self { files, stand_in };
        machine.write(body);
        Some(machine)
    }

    fn write(&self, body: &str) {
        let user = if is_root() { "[broker]\nuser = 64001\n" } else { "" };
        let text = format!("version = 1\n{user}[tags.open]\nid = 1\n{body}{OPERATORS}");
        let new = self.files.file("new", text, 0o644);
        fs::rename(new, self.policy()).unwrap();
    }

    fn policy(&self) -> PathBuf {
        self.files.join("policy.toml")
    }

    /// Whether lookups do not return (`hangs`), fail (`down`), or find nobody (`gone`).
    fn is(&self, state: &str) {
        for other in ["hangs", "down", "gone"] {
            // Not there, as a rule.
            let _ = fs::remove_file(self.files.join(other));
        }
        if state != "up" {
            self.files.file(state, "", 0o644);
        }
    }

    fn broker(&self) -> Builder {
        let builder = Daemon::with_policy_file(&self.policy());
        let builder = builder.argument("--state-directory").argument(self.files.join("state"));
        builder.environment("LD_PRELOAD", &self.stand_in)
    }
}

fn rule(line: &str, who: &str) -> String {
    format!("[[rules]]\nid = '{line}'\n{line}\nslots = [\"open/*\"]\n{who}\n")
}

fn allow_remote() -> String {
    rule("allow = [\"*\"]", "user = \"remote\"")
}

fn allow_all_but_remote() -> String {
    rule("allow = [\"*\"]", "anyone = true") + &rule("deny = [\"*\"]", "user = \"remote\"")
}

#[test]
fn an_account_that_does_not_exist_is_allowed_nothing_and_the_broker_starts() {
    let users = "user = [\"no-such-account\", \"root\"]";
    let policy = format!("[tags.open]\nid = 1\n{}{OPERATORS}", rule("allow = [\"get\"]", users));
    let daemon = Daemon::with_policy(&policy).start();
    logs(
        &daemon,
        "there is no user \\\"no-such-account\\\": this rule allows nothing by that name",
    );
    assert!(status_has(&daemon, "names_absent=user \"no-such-account\""));
    assert!(status_has(&daemon, "degraded=none"));
    let path = daemon.policy_path();
    let said = daemon.run(&["check", path.to_str().unwrap()]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.err.contains("warning: there is no user \"no-such-account\""), "{said:?}");
}

#[test]
fn a_rule_that_denies_by_an_account_that_does_not_exist_keeps_the_policy_from_loading() {
    let policy =
        format!("[tags.open]\nid = 1\n{}", rule("deny = [\"get\"]", "user = \"no-such-account\""));
    let (status, said) = Daemon::with_policy(&policy).fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("there is no user \"no-such-account\""), "{said}");
}

#[test]
fn a_name_that_cannot_be_looked_up_waits_and_counts_once_it_is_known() {
    if !needs_root("a user of a directory service") {
        return;
    }
    let Some(machine) = Machine::new(&allow_remote()) else { return };
    machine.is("down");
    let daemon = machine.broker().start();
    let remote = HelperProcess::user(REMOTE);
    let mut peer = remote.connect(&daemon);
    assert_eq!(peer.add((1, 0), "x").errno(), libc::EACCES);
    logs(&daemon, "the user \\\"remote\\\" could not be looked up: I/O error; until it is known");
    assert!(status_has(&daemon, "degraded=names"));
    assert!(status_has(&daemon, "names_unknown=user \"remote\""));
    machine.is("up");
    wait_until("the name is known", || status_has(&daemon, "names_unknown=none"));
    logs(&daemon, "policy 1 is in force");
    peer.add((1, 0), "x").done();
    assert!(status_has(&daemon, "degraded=none"));
}

#[test]
fn a_rule_that_denies_by_a_name_that_cannot_be_looked_up_denies_everybody() {
    let Some(machine) = Machine::new(&allow_all_but_remote()) else { return };
    machine.is("down");
    let daemon = machine.broker().start();
    let mut peer = daemon.connect();
    assert_eq!(peer.add((1, 0), "x").errno(), libc::EACCES);
    machine.is("up");
    wait_until("the name is known", || status_has(&daemon, "names_unknown=none"));
    logs(&daemon, "policy 1 is in force");
    peer.add((1, 0), "x").done();
}

#[test]
fn a_name_that_was_known_keeps_its_number_while_it_cannot_be_looked_up() {
    let Some(machine) = Machine::new(&allow_all_but_remote()) else { return };
    let daemon = machine.broker().start();
    machine.is("down");
    daemon.says(&["reload"]);
    daemon.connect().add((1, 0), "x").done();
    assert!(status_has(&daemon, "names_unknown=none"));
}

#[test]
fn an_account_that_comes_is_allowed_what_the_policy_says_without_a_reload() {
    let Some(machine) = Machine::new(&allow_remote()) else { return };
    machine.is("gone");
    let daemon = machine.broker().start();
    assert!(status_has(&daemon, "names_absent=user \"remote\""));
    machine.is("up");
    wait_until("the name is known", || status_has(&daemon, "names_absent=none"));
}

#[test]
fn the_last_good_policy_starts_although_a_user_whom_it_denies_was_removed() {
    let Some(machine) = Machine::new(&allow_all_but_remote()) else { return };
    let mut daemon = machine.broker().start();
    let copy = machine.files.join("state/last-good-policy.json");
    wait_until("the policy is kept", || copy.exists());
    assert_eq!(daemon.end(Signal::TERM).code(), Some(0));
    machine.is("gone");
    let daemon = machine.broker().start();
    assert!(status_has(&daemon, "degraded=policy names"), "{}", daemon.says(&["status"]));
    let mut peer = daemon.connect();
    assert_eq!(peer.add((1, 0), "x").errno(), libc::EACCES, "it denies everybody");
    machine.write(&rule("allow = [\"*\"]", "anyone = true"));
    wait_until("the new policy is in force", || status_has(&daemon, "degraded=none"));
    logs(&daemon, "policy 1 is in force");
    peer.add((1, 0), "x").done();
}

/// Longer than all lookups of a policy together may take, and far shorter than those here would.
const BOUND: Duration = Duration::from_secs(25);

#[test]
fn a_name_service_that_hangs_keeps_the_broker_neither_from_starting_nor_from_reloading() {
    if !needs_root("a user of a directory service that hangs") {
        return;
    }
    let others = rule("allow = [\"get\"]", "user = [\"root\", \"remote\"]");
    let Some(machine) = Machine::new(&(allow_remote() + &others)) else { return };
    machine.is("hangs");
    binaries();
    let began = Instant::now();
    let daemon = machine.broker().start();
    assert!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
    logs(
        &daemon,
        "the user \\\"remote\\\" could not be looked up: the name service does not answer",
    );
    assert!(status_has(&daemon, "names_unknown=user \"remote\""));
    assert_eq!(process::lookups(daemon.supervisor_pid()), [0; 0], "none is left");
    let began = Instant::now();
    daemon.says(&["reload"]);
    assert!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
    machine.is("up");
    wait_until("the name is known", || status_has(&daemon, "names_unknown=none"));
    HelperProcess::user(REMOTE).connect(&daemon).add((1, 0), "x").done();
    // Nobody loses a right since it hangs again.
    machine.is("hangs");
    daemon.says(&["reload"]);
    HelperProcess::user(REMOTE).connect(&daemon).add((1, 0), "x").done();
    machine.is("up");
}

#[test]
fn a_check_waits_for_a_name_service_that_hangs_within_a_bound() {
    let Some(machine) = Machine::new(&allow_remote()) else { return };
    machine.is("hangs");
    let mut command = Command::new(&binaries().command);
    let began = Instant::now();
    command.env("LD_PRELOAD", &machine.stand_in).arg("check").arg(machine.policy());
    let checked = command.output().unwrap();
    machine.is("up");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
    assert!(checked.status.success() && said.contains("does not answer"), "{checked:?}");
}

/// What a rule lacks can only make tests fail that expect a grant.
#[test]
fn a_test_of_the_policy_that_grants_too_much_is_a_finding_whatever_names_are_missing() {
    let test = |user: &str, expect: &str| {
        format!(
            "[[tests]]\nuser = {user}\nright = \"get\"\nslot = \"open/0\"\nexpect = \"{expect}\"\n"
        )
    };
    let remote = rule("allow = [\"get\"]", "user = \"no-such-account\"");
    let other = rule("allow = [\"get\", \"add\"]", "user = 4242");
    let head = format!("[tags.open]\nid = 1\n{remote}{other}");
    let passes =
        format!("{head}{}{}", test("\"no-such-account\"", "granted"), test("4243", "granted"));
    let daemon = Daemon::with_policy(&passes).start();
    logs(&daemon, "this test is not made");
    logs(&daemon, "fails while names are missing");
    let (status, said) = Daemon::with_policy(&format!("{head}{}", test("4242", "refused"))).fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("this test fails: it is granted"), "{said}");
}
