//! A connection that outlives its process is worth nothing to another process that gets its pid. All
//! need root, who can choose a pid.

use std::fs;
use std::path::{Path, PathBuf};

use fdbroker_tests::{
    Builder, Daemon, HelperProcess, Ids, Line, Peer, needs_root, process, request, skip, socket,
    wait_until,
};
use rustix::process::Signal;

const ALICE: u32 = 64301;
const STAFF: u32 = 64350;
const BANNED: u32 = 64351;

/// Staff may use tag 1, Alice tag 2; who is banned nothing.
const POLICY: &str = r#"
[tags.first]
id = 1

[tags.second]
id = 2

[[rules]]
id = "staff"
allow = ["*"]
slots = ["first/*"]
group = 64350

[[rules]]
id = "alice"
allow = ["*"]
slots = ["second/*"]
user = 64301

[[rules]]
id = "banned"
deny = ["*"]
slots = ["*"]
group = 64351
"#;

const FIRST: (i16, i32) = (1, 0);
const SECOND: (i16, i32) = (2, 0);

/// Alice, with these groups beside her own.
fn alice(groups: &[u32]) -> Ids {
    Ids { uid: ALICE, gid: ALICE, groups: groups.to_vec() }
}

/// Lets a process of `before` connect and ask once, and end; then one of `after` with its pid has the
/// connection.
fn inherited(daemon: &Daemon, before: Ids, after: Ids) -> Option<(Peer, HelperProcess)> {
    let first = HelperProcess::who_is(before);
    inherited_from(daemon, first, after, |_| ())
}

fn inherited_from(
    daemon: &Daemon,
    first: HelperProcess,
    after: Ids,
    prepare: impl FnOnce(&HelperProcess),
) -> Option<(Peer, HelperProcess)> {
    let connection = first.open_connection(daemon.socket()).unwrap();
    let socket = connection.share().unwrap();
    let mut own = first.take_over(&socket);
    assert_eq!(own.get(SECOND).errno(), libc::ENOENT, "before it ends");
    let pid = first.pid();
    first.kill();
    let heir = match HelperProcess::with_pid(pid) {
        Ok(heir) => heir,
        Err(error) => {
            skip("a pid that is used again", &error.to_string());
            return None;
        }
    };
    prepare(&heir);
    heir.become_user(after);
    Some((heir.take_over(socket), heir))
}

fn start(builder: Builder) -> Option<Daemon> {
    needs_root("a pid that is used again").then(|| builder.start())
}

fn last(daemon: &Daemon) -> Line {
    daemon.log().decisions().into_iter().next_back().unwrap()
}

#[test]
fn a_recycled_pid_has_no_group_of_its_predecessor() {
    let Some(daemon) = start(Daemon::with_policy(POLICY)) else { return };
    let Some((mut heir, helper)) = inherited(&daemon, alice(&[STAFF]), alice(&[])) else { return };
    for _ in 0..3 {
        assert_eq!(heir.add(FIRST, "x").errno(), libc::EACCES);
        assert_eq!(last(&daemon).sender_pid, i32::try_from(helper.pid()).ok());
    }
    heir.add(SECOND, "x").done();
}

#[test]
fn a_recycled_pid_escapes_no_rule_that_denies() {
    let Some(daemon) = start(Daemon::with_policy(POLICY)) else { return };
    let Some((mut heir, _person)) = inherited(&daemon, alice(&[]), alice(&[BANNED])) else {
        return;
    };
    for _ in 0..3 {
        assert_eq!(heir.add(SECOND, "x").errno(), libc::EACCES);
        assert_eq!(last(&daemon).rule.as_deref(), Some("banned"));
    }
}

/// A control group of this test's own.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn new(name: &str) -> std::io::Result<Self> {
        // Beside the hierarchies of version 1, or alone.
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists());
        let root = root.ok_or(std::io::ErrorKind::NotFound)?;
        let path = root.join(format!("fdbroker-{}-{name}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn take(&self, helper: &HelperProcess) {
        fs::write(self.0.join("cgroup.procs"), helper.pid().to_string()).unwrap();
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // It fails while a process is in it, and then stays.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_recycled_pid_passes_no_rule_by_control_group() {
    let (vpn, other) = match (ControlGroup::new("vpn.service"), ControlGroup::new("x.service")) {
        (Ok(vpn), Ok(other)) => (vpn, other),
        (Err(error), _) | (_, Err(error)) => {
            return skip("a control group", &error.to_string());
        }
    };
    let name = vpn.0.file_name().unwrap().to_str().unwrap();
    let group = format!("cgroup = \"/**{name}\"\nuser = 64301\n");
    let policy = POLICY.replacen("group = 64350\n", &group, 1);
    let Some(daemon) = start(Daemon::with_policy(&policy)) else { return };
    let first = HelperProcess::same();
    vpn.take(&first);
    first.become_user(alice(&[]));
    let mut own = first.connect(&daemon);
    if own.add(FIRST, "vpn's").errno() != 0 {
        return skip("a rule by control group", "control groups are not seen here");
    }
    let Some((mut heir, helper)) =
        inherited_from(&daemon, first, alice(&[]), |heir| other.take(heir))
    else {
        return;
    };
    assert_eq!(heir.get(FIRST).errno(), libc::EACCES);
    let line = last(&daemon);
    assert_eq!(line.sender_pid, i32::try_from(helper.pid()).ok());
    assert!(!line.unit.contains("vpn"), "the record names the dead process's unit: {line:?}");
}

#[test]
fn what_a_process_wrote_before_it_ended_counts_for_its_user_alone() {
    let Some(daemon) = start(Daemon::with_policy(POLICY)) else { return };
    for (place, errno) in [(FIRST, libc::EACCES), (SECOND, libc::EACCES)] {
        assert_eq!(written_and_ended(&daemon, place), errno, "the rule that denies may fit it");
    }
    let policy = POLICY.split("[[rules]]\nid = \"banned\"").next().unwrap();
    let daemon = Daemon::with_policy(policy).start();
    for (place, errno) in [(FIRST, libc::EACCES), (SECOND, libc::ENOENT)] {
        assert_eq!(written_and_ended(&daemon, place), errno);
    }
}

/// The answer to a GET of a member of staff that ended before anybody looked.
fn written_and_ended(daemon: &Daemon, place: (i16, i32)) -> i32 {
    let helper = HelperProcess::who_is(alice(&[STAFF]));
    let connection = helper.open_connection(daemon.socket()).unwrap();
    let mut here = Peer::over(connection.share().unwrap());
    let mut own = helper.take_over(here.socket());
    assert_ne!(own.get(SECOND).errno(), libc::EPROTO, "it is served at all");
    let worker = daemon.worker_pid();
    process::signal(worker, Signal::STOP);
    wait_until("the worker is stopped", || process::stat(worker).unwrap()[0] == "T");
    connection.send(&request::get(place), &[]).unwrap();
    helper.kill();
    process::signal(worker, Signal::CONT);
    here.answer().errno()
}

#[test]
fn a_process_that_lives_is_itself_however_it_writes() {
    let daemon = Daemon::open().start();
    let mut own = Peer::over(socket::connected(daemon.socket(), None).unwrap());
    for round in 0..50 {
        // One after the other, several at once, and one in two parts.
        own.add((1, round), "x").done();
        own.send(&request::get((1, round)).repeat(3), &[]);
        (0..3).for_each(|_| assert_eq!(own.answer().payload(), b"x"));
        let bytes = request::get((1, round));
        own.send(&bytes[..5], &[]);
        own.send(&bytes[5..], &[]);
        assert_eq!(own.answer().payload(), b"x");
    }
    assert!(daemon.log().decisions().iter().all(|line| line.sender_pid.is_none()));
}
