//! What an operator relies on: a worker without any privilege, and a record of every decision.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};

use fdbroker_tests::{
    Daemon, Directory, HelperProcess, Ids, Line, Peer, WORKER, fixtures, is_root, needs_root,
    process, skip, sys, wait_for,
};

#[test]
fn the_worker_runs_as_the_policys_user_without_capability_or_group() {
    if !needs_root("the worker's user") {
        return;
    }
    let daemon = Daemon::open().start();
    daemon.connect().is_served((1, 0));
    has_no_privilege(daemon.worker_pid(), WORKER);
    daemon.kill_worker();
    daemon.connect().is_served((1, 0));
    has_no_privilege(daemon.worker_pid(), WORKER);
}

fn has_no_privilege(pid: u32, user: u32) {
    let ids = format!("{user}\t{user}\t{user}\t{user}");
    assert_eq!(process::status(pid, "Uid"), ids);
    let gids = process::status(pid, "Gid");
    let gids: Vec<&str> = gids.split_whitespace().collect();
    assert!(gids.iter().all(|gid| *gid == gids[0] && *gid != "0"), "{gids:?}");
    assert_eq!(process::status(pid, "Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(process::status(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(process::status(pid, "NoNewPrivs"), "1");
}

#[test]
fn without_root_the_worker_has_no_capability_either_and_gains_none() {
    let builder = Daemon::open();
    let builder = if is_root() { builder.run_as(Ids::plain(64010)) } else { builder };
    let daemon = builder.start();
    let pid = daemon.worker_pid();
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(process::status(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(process::status(pid, "NoNewPrivs"), "1");
    let own = if is_root() { 64010 } else { Ids::own().uid };
    assert!(process::status(pid, "Uid").starts_with(&own.to_string()));
}

#[test]
fn no_descriptor_of_whoever_starts_the_daemon_reaches_the_worker() {
    let daemon = Daemon::open().start();
    let held = process::descriptors(daemon.worker_pid()).unwrap();
    let known = ["socket:", "anon_inode:", "/dev/null", "pipe:"];
    let log = daemon.directory().join("log");
    for (number, target) in held {
        let expected = known.iter().any(|known| target.starts_with(known));
        assert!(expected || target == log.to_str().unwrap(), "{number}: {target}");
        // Standard output and error are the only ones that may be anything.
        assert!(number > 2 || !target.starts_with("pipe:"), "{number}: {target}");
    }
}

const POLICY: &str = r#"
[tags.devices]
id = 1

[tags.store]
id = 2

[resources.null]
slot = "devices/0"
device = "/dev/null"

[resources.gone]
slot = "devices/1"
file = "/nonexistent"

[[rules]]
id = "everyone may take devices"
allow = ["get"]
slots = ["devices/*"]
anyone = true

[[rules]]
id = "the store is open"
allow = ["*"]
slots = ["store/*"]
anyone = true

[[rules]]
id = "but not all of it"
deny = ["get"]
slots = ["store/13"]
anyone = true
"#;

#[test]
fn every_decision_is_just_one_record_that_says_who_what_where_and_why() {
    let daemon = Daemon::with_policy(POLICY).start();
    let helper = HelperProcess::same();
    let mut peer = helper.connect(&daemon);
    peer.get((1, 0)).descriptor();
    assert_eq!(peer.get((1, 1)).errno(), libc::EIO);
    assert_eq!(peer.add((1, 5), "x").errno(), libc::EACCES);
    peer.add((2, 5), "x").done();
    peer.get((2, 5)).payload();
    assert_eq!(peer.get((2, 13)).errno(), libc::EACCES);
    peer.tag(2);
    assert_eq!(peer.tag(1).errno(), libc::EACCES);
    peer.del((2, 5)).done();
    assert_eq!(peer.get((2, 5)).errno(), libc::ENOENT);
    assert_eq!(peer.get((9, 9)).errno(), libc::EACCES);

    let devices = Some("everyone may take devices");
    let store = Some("the store is open");
    let expected = [
        ("granted", "get", "1/0", "null", devices),
        ("failed", "get", "1/1", "gone", devices),
        ("refused", "add", "1/5", "devices/5", None),
        ("granted", "add", "2/5", "store/5", store),
        ("granted", "get", "2/5", "store/5", store),
        ("refused", "get", "2/13", "store/13", Some("but not all of it")),
        ("granted", "tag", "2/*", "store", store),
        ("refused", "tag", "1/*", "devices", None),
        ("granted", "del", "2/5", "store/5", store),
        ("failed", "get", "2/5", "store/5", store),
        ("refused", "get", "9/9", "", None),
    ];
    // Each was written before its answer was sent: there is nothing to wait for.
    let records = daemon.log().decisions();
    let found: Vec<_> = records.iter().map(outline).collect();
    assert_eq!(found, expected);
    let ids = Ids::own();
    for record in &records {
        assert_eq!((record.uid, record.gid), (ids.uid, ids.gid));
        assert_eq!(record.pid.unsigned_abs(), helper.pid());
        assert!(!record.reason.is_empty() && !record.time.is_empty());
        assert_eq!(record.level, if record.verdict == "granted" { "info" } else { "warning" });
    }
}

fn outline(line: &Line) -> (&str, &str, &str, &str, Option<&str>) {
    let Line { verdict, right, slot, name, rule, .. } = line;
    (verdict, right, slot, name, rule.as_deref())
}

#[test]
fn the_record_says_why_a_resource_could_not_be_opened_and_the_peer_is_not_told() {
    let daemon = Daemon::with_policy(POLICY).start();
    let answer = daemon.connect().get((1, 1));
    let fdbroker_tests::Answer::Failed(_, text) = answer else { panic!("{answer:?}") };
    assert!(!text.contains("/nonexistent"), "the peer learns the path: {text}");
    let record = &daemon.log().decisions()[0];
    assert!(record.reason.contains("/nonexistent"), "{record:?}");
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let (_unread, pipe) = rustix::pipe::pipe().unwrap();
    assert_serves_with_a_log_on("a pipe", pipe);
    let (_unread, socket) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_serves_with_a_log_on("a socket", socket.into());
    match sys::terminal() {
        Ok((_unread, terminal)) => assert_serves_with_a_log_on("a terminal", terminal),
        Err(error) => skip("a terminal that nobody reads", &error.to_string()),
    }
}

/// Serves far more than its standard error holds; it is started by hand.
fn assert_serves_with_a_log_on(what: &str, log: OwnedFd) {
    let flags = fixtures::flags(&log);
    let kept = log.try_clone().unwrap();
    let (directory, mut command) = by_hand();
    let mut daemon = ByHand(command.stderr(log).spawn().unwrap());
    drop(command);
    let mut peer = connect_to(&directory);
    for number in 0..3000 {
        assert_eq!(peer.get((1, 0)).errno(), libc::ENOENT, "{what}: request {number}");
    }
    assert_eq!(fixtures::flags(&kept), flags, "{what}: others who have it open find it changed");
    assert!(daemon.end().success(), "{what}");
}

#[test]
fn a_terminal_that_stops_background_programs_stops_no_worker() {
    let (reader, terminal) = match sys::terminal() {
        Ok(pair) => pair,
        Err(error) => return skip("a terminal with tostop", &error.to_string()),
    };
    sys::stop_background_writers(&terminal);
    let (directory, mut command) = by_hand();
    sys::on_terminal(&mut command, terminal.try_clone().unwrap());
    let mut daemon = ByHand(command.stderr(terminal).spawn().unwrap());
    drop(command);
    let mut peer = connect_to(&directory);
    for _ in 0..3 {
        assert_eq!(peer.get((1, 0)).errno(), libc::ENOENT);
    }
    assert!(daemon.end().success());
    drop(reader);
}

/// A daemon with a policy and a socket in the directory given, whose standard error is still to
/// be said.
fn by_hand() -> (Directory, Command) {
    let directory = Directory::new();
    let body = format!("version = 1\n[broker]\nuser = {WORKER}\n{}", fixtures::OPEN);
    let policy = directory.file("policy.toml", body, 0o644);
    let mut command = Command::new(&fdbroker_tests::binaries::binaries().daemon);
    command.arg("--policy").arg(policy).arg("--socket").arg(directory.join("socket"));
    command.args(["--log-format", "json"]).stdin(Stdio::null());
    (directory, command)
}

/// Killed when dropped, unless it has ended.
struct ByHand(Child);

impl ByHand {
    fn end(&mut self) -> ExitStatus {
        process::signal(self.0.id(), rustix::process::Signal::TERM);
        wait_for("it ends", || self.0.try_wait().unwrap())
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

fn connect_to(directory: &Directory) -> Peer {
    wait_for("the daemon listens", || Peer::connect(&directory.join("socket")).ok())
}

#[test]
fn a_deposit_outlives_the_worker_with_everything_that_it_is() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    peer.add_descriptor((1, 0), fixtures::file_saying("kept"), "payload").done();
    peer.add((1, 1), vec![9; 32768]).done();
    peer.add((1, 2), "").done();
    let before = peer.tag(1);
    daemon.kill_worker();
    assert!(peer.answer().is_closed());
    let mut peer = daemon.connect();
    let answer = peer.get((1, 0));
    let fdbroker_tests::Answer::Deposit { ufd: 7, payload, descriptor } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (payload.as_slice(), fixtures::content(descriptor.unwrap())),
        (&b"payload"[..], "kept".into())
    );
    assert_eq!(peer.get((1, 1)).payload(), vec![9; 32768]);
    assert_eq!(peer.get((1, 2)).payload(), b"");
    assert_eq!(format!("{:?}", peer.tag(1)), format!("{before:?}"));
    daemon.log().wait_for("the death is in the log", |line| line.message.contains("worker"));
}
