//! A user who connects and leaves faster than the broker accepts: all wait in one queue of the kernel.

use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use fdbroker_tests::helper_process::AttackUnderWay;
use fdbroker_tests::hostile::Attack;
use fdbroker_tests::{Daemon, Directory, HelperProcess, needs_root, skip, wait_until};
use rustix::fs::lgetxattr;
use rustix::process::Signal;

const ALICE: u32 = 64231;
const BOB: u32 = 64232;
const CAROL: u32 = 64233;
const POLICY: &str = r#"
[tags.any]
id = 1
[[rules]]
id = "who looks at the status"
allow = ["operate"]
user = 0
"#;
/// More than a hang: an attack ends when its test says so.
const NO_HANG: Duration = Duration::from_secs(120);

fn floods(daemon: &Daemon) -> AttackUnderWay {
    floods_by(daemon, Attack::ConnectAndClose)
}

fn floods_by(daemon: &Daemon, attack: Attack) -> AttackUnderWay {
    let begun = HelperProcess::user(ALICE).attack(daemon.socket(), attack, 1, NO_HANG);
    begun.expect("the flood begins")
}

/// Waits until Alice is kept out; returns whether this machine can do that.
fn alice_is_shut_out(daemon: &Daemon) -> bool {
    let out = "it cannot connect for ".to_owned();
    let cannot = "it cannot be kept from connecting";
    wait_until("the flood is noticed", || {
        let log = daemon.log().text();
        log.contains(&out) || log.contains(cannot)
    });
    let can = daemon.log().text().contains(&out);
    if !can {
        skip("keeping a user out", "its directory's file system has no access control lists");
    }
    can
}

fn may_connect(user: &HelperProcess, daemon: &Daemon) -> bool {
    match user.open_connection(daemon.socket()) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => panic!("{error}"),
    }
}

fn status_says(daemon: &Daemon, line: &str) -> bool {
    daemon.says(&["status"]).lines().any(|said| said == line)
}

fn has_acl(daemon: &Daemon) -> bool {
    lgetxattr(daemon.socket(), "system.posix_acl_access", &mut [0u8; 256][..]).is_ok()
}

#[test]
fn a_user_who_floods_the_socket_cannot_connect_for_a_while_and_others_can() {
    if !needs_root("users that attack") {
        return;
    }
    let daemon = Daemon::with_policy(POLICY).start();
    let (alice, bob) = (HelperProcess::user(ALICE), HelperProcess::user(BOB));
    let flood = floods(&daemon);
    if !alice_is_shut_out(&daemon) {
        return;
    }
    assert!(!may_connect(&alice, &daemon));
    assert!(may_connect(&bob, &daemon));
    assert!(status_says(&daemon, &format!("shut_out={ALICE}")));
    flood.end().expect("it went on until the end");
    wait_until("Alice may connect again", || may_connect(&alice, &daemon));
    wait_until("the status says so", || status_says(&daemon, "shut_out=none"));
    assert!(!has_acl(&daemon), "the file is as before");
}

#[test]
fn a_user_who_floods_with_connections_that_ask_for_nothing_cannot_connect_for_a_while() {
    if !needs_root("users that attack") {
        return;
    }
    let daemon = Daemon::with_policy(POLICY).start();
    let bob = HelperProcess::user(BOB);
    let flood = floods_by(&daemon, Attack::ConnectAndBegin);
    if !alice_is_shut_out(&daemon) {
        return;
    }
    assert!(may_connect(&bob, &daemon));
    flood.end().expect("it went on until the end");
}

#[test]
fn a_user_who_is_turned_away_since_others_have_all_connections_is_not_shut_out() {
    if !needs_root("another user than those that have all connections") {
        return;
    }
    let daemon = Daemon::open().setting("max_connections = 20").start();
    let (alice, bob) = (HelperProcess::user(ALICE), HelperProcess::user(BOB));
    let carol = HelperProcess::user(CAROL);
    // The last two are for users who have few.
    let of_bob = (0..18).map(|_| bob.connect(&daemon));
    let mut held: Vec<_> = of_bob.chain((0..2).map(|_| carol.connect(&daemon))).collect();
    held.iter_mut().for_each(|peer| peer.is_served((1, 0)));
    for _ in 0..1500 {
        assert!(may_connect(&alice, &daemon));
    }
    assert!(!daemon.log().text().contains("it cannot connect for "));
}

/// A broker on a socket that was passed in, from which it keeps Alice out.
struct Flooded {
    _directory: Directory,
    path: PathBuf,
    passed: UnixListener,
    daemon: Daemon,
    flood: AttackUnderWay,
}

/// `None` where this machine cannot do that.
fn flooded() -> Option<Flooded> {
    if !needs_root("users that attack") {
        return None;
    }
    let directory = Directory::new();
    let path = directory.join("passed");
    let passed = UnixListener::bind(&path).unwrap();
    open_to_all(&path);
    let listening = passed.try_clone().unwrap();
    let daemon = Daemon::open().listening(listening).socket(path.clone()).start();
    let flood = floods(&daemon);
    let is_out = alice_is_shut_out(&daemon);
    is_out.then_some(Flooded { _directory: directory, path, passed, daemon, flood })
}

#[test]
fn a_socket_that_was_passed_in_is_left_as_it_was_found() {
    let Some(Flooded { mut daemon, _directory, flood, .. }) = flooded() else { return };
    assert!(has_acl(&daemon));
    assert!(daemon.end(Signal::TERM).success());
    assert!(!has_acl(&daemon));
    drop(flood);
}

#[test]
fn a_broker_lets_in_whom_one_that_was_killed_kept_out() {
    let Some(Flooded { mut daemon, _directory, path, passed, flood }) = flooded() else { return };
    daemon.kill_both();
    drop(flood);
    assert!(has_acl(&daemon));
    let next = Daemon::open().listening(passed).socket(path).start();
    assert!(!has_acl(&next));
    assert!(may_connect(&HelperProcess::user(ALICE), &next));
}

fn open_to_all(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
}
