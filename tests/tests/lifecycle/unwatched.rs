//! A user without inotify instances: the broker says so, and watches as soon as there are some.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::{Child, Command, Stdio};

use fdbroker_tests::{Daemon, Directory, Ids, needs_root, skip, wait_until};
use rustix::process::Signal;

use super::logs;

const POLICY: &str = "version = 1\n[tags.open]\nid = 1\n\
    [[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";

/// Takes all inotify instances that its user may have, says so, and has them until its input ends.
const TAKE_ALL: &str = "
import ctypes, resource, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
libc = ctypes.CDLL(None, use_errno=True)
many = 0
while libc.inotify_init() >= 0: many += 1
print('taken' if many + 10 < most else 'other', end='', flush=True)
sys.stdin.read()";

/// A process that has all inotify instances of the user; says aloud where that cannot be.
struct Taker(Child);

impl Taker {
    fn start(user: u32) -> Option<Self> {
        let mut command = Command::new("setpriv");
        let ids = [format!("--reuid={user}"), format!("--regid={user}")];
        command.args(ids).args(["--clear-groups"]).args(["/usr/bin/python3", "-c", TAKE_ALL]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            spawned.map_err(|error| skip("no inotify instance", &error.to_string())).ok()?;
        let mut said = [0; 5];
        child.stdout.take().unwrap().read_exact(&mut said).unwrap();
        let taker = Self(child);
        if said != *b"taken" {
            skip(
                "no inotify instance",
                "fs.inotify.max_user_instances is above the limit of descriptors",
            );
            return None;
        }
        Some(taker)
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        // Ends it.
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// The files of a broker of that user.
fn machine(user: u32) -> Directory {
    let machine = Directory::new();
    chown(machine.path(), Some(user), Some(user)).unwrap();
    machine
}

fn start(machine: &Directory, user: u32) -> Daemon {
    let builder = Daemon::with_policy_file(&machine.join("policy.toml"));
    let builder = builder.argument("--state-directory").argument(machine.join("state"));
    builder.run_as(Ids { uid: user, gid: user, groups: Vec::new() }).start()
}

fn status(daemon: &Daemon) -> String {
    let user = std::fs::metadata(daemon.socket()).map(|it| it.uid()).unwrap();
    daemon.says(&["--trust-uid", &user.to_string(), "status"])
}

#[test]
fn without_an_inotify_instance_it_is_said_shown_and_tried_again() {
    if !needs_root("a user without inotify instances") {
        return;
    }
    let machine = machine(64077);
    machine.file("policy.toml", POLICY, 0o644);
    let mut daemon = start(&machine, 64077);
    wait_until("the policy is kept", || status(&daemon).contains(" sha256 "));
    daemon.end(Signal::TERM);
    let Some(taker) = Taker::start(64077) else { return };
    machine.file("policy.toml", "nonsense", 0o644);
    let daemon = start(&machine, 64077);
    logs(&daemon, "the policy files cannot be watched: ");
    wait_until("it is shown", || status(&daemon).contains("unwatched=policy"));
    assert!(status(&daemon).contains("degraded=policy watches\n"));
    // Nobody sees that.
    machine.file("policy.toml", POLICY, 0o644);
    drop(taker);
    logs(&daemon, "the policy files are watched again");
    wait_until("it is taken", || status(&daemon).contains("degraded=none"));
    assert!(status(&daemon).contains("unwatched=none"));
    assert_eq!(daemon.log().text().matches("the policy files cannot be watched").count(), 1);
}

#[test]
fn a_device_that_appears_while_nothing_can_be_watched_is_opened_afterwards() {
    if !needs_root("a user without inotify instances") {
        return;
    }
    let machine = machine(64078);
    let node = machine.join("node");
    let resource = format!(
        "[resources.thing]\nslot = \"open/1\"\nopen = \"startup\"\nfollow_symlinks = true\n\
         device = {node:?}\naccess = \"read\"\n"
    );
    machine.file("policy.toml", format!("{POLICY}{resource}"), 0o644);
    let Some(taker) = Taker::start(64078) else { return };
    let daemon = start(&machine, 64078);
    logs(&daemon, "it cannot be watched whether devices appear: ");
    wait_until("it is shown", || status(&daemon).contains("unwatched=devices"));
    assert!(status(&daemon).contains("degraded=resources watches"));
    symlink("/dev/null", &node).unwrap();
    drop(taker);
    logs(&daemon, "it is watched again whether devices appear");
    wait_until("it is open", || status(&daemon).contains("resources_failed=none"));
    assert!(status(&daemon).contains("degraded=none"));
    assert_eq!(daemon.log().text().matches("it cannot be watched").count(), 1);
}
