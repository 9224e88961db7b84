//! Which processes may ask a broker to hand over: one that gets an answer gets everything.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use fdbroker_tests::binaries::binaries;
use fdbroker_tests::daemon::TRIER;
use fdbroker_tests::newcomer::{Newcomer, door_of};
use fdbroker_tests::{
    Daemon, HelperProcess, Ids, Peer, WORKER, is_root, needs_root, process, skip, wait_until,
};
use fdbroker_wire::Handover;

use super::Site;

const STRANGER: u32 = 64260;
const REFUSED: &str = "asked to replace this broker is refused";

#[test]
fn only_the_brokers_own_user_may_connect() {
    let site = Site::new();
    let _daemon = site.broker().start();
    let found = fs::metadata(door_of(&site.socket())).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(found.uid(), Ids::own().uid);
}

#[test]
fn a_deleted_file_of_the_door_is_made_again() {
    let site = Site::new();
    let daemon = site.broker().start();
    let door = door_of(&site.socket());
    fs::remove_file(&door).unwrap();
    wait_until("it is made again", || door.exists());
    assert_eq!(fs::metadata(&door).unwrap().permissions().mode() & 0o777, 0o600);
    let said = format!("the socket file {} was deleted; it has been recreated", door.display());
    wait_until("it is said", || daemon.log().text().contains(&said));
    let mut daemon = site.replace(daemon);
    assert!(daemon.end(rustix::process::Signal::TERM).success());
    assert!(!door.exists(), "it was left behind");
}

#[test]
fn what_is_no_socket_is_left_where_the_door_would_be() {
    let site = Site::new();
    let door = door_of(&site.socket());
    fs::write(&door, "somebody's file").unwrap();
    let daemon = site.broker().start();
    daemon.log().wait_for("it is said", |line| {
        line.message.contains("cannot be replaced") && line.message.contains("is no socket")
    });
    assert_eq!(fs::read_to_string(&door).unwrap(), "somebody's file");
}

#[test]
fn another_user_the_worker_included_is_refused_even_if_it_may_connect() {
    if !needs_root("another user that asks a broker to hand over") {
        return;
    }
    let site = Site::new();
    let daemon = site.broker().start();
    let door = door_of(&site.socket());
    for user in [STRANGER, WORKER] {
        let other = HelperProcess::user(user);
        assert!(other.try_connect(&door, None).is_err(), "{user}");
    }
    fs::set_permissions(&door, fs::Permissions::from_mode(0o666)).unwrap();
    for (count, user) in [STRANGER, WORKER].into_iter().enumerate() {
        let other = HelperProcess::user(user);
        let mut newcomer = Newcomer::of(other, &site.socket());
        assert!(newcomer.asks(Handover::<()>::VERSION).is_none(), "{user} was answered");
        wait_until("it is said", || daemon.log().text().matches(REFUSED).count() > count);
    }
    daemon.connect().is_served((1, 0));
}

/// Connects, and ends when the other end does, or with 1 when it is answered.
const ASKS: &str = "import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(sys.argv[1])
sys.exit(len(s.recv(1)))";

#[test]
fn root_without_a_capability_that_the_broker_began_with_is_refused() {
    if !needs_root("root with fewer capabilities") {
        return;
    }
    let site = Site::new();
    let daemon = site.broker().start();
    let mut asks = Command::new("setpriv");
    asks.args(["--bounding-set=-sys_ptrace", "--inh-caps=-all", "python3", "-c", ASKS]);
    let ended = asks.arg(door_of(&site.socket())).status().unwrap();
    assert_eq!(ended.code(), Some(0), "it was answered");
    assert!(daemon.log().text().contains("it has fewer capabilities"));
    daemon.connect().is_served((1, 0));
}

#[test]
fn what_is_as_confined_as_a_users_broker_is_refused() {
    let Some(builder) = Daemon::built_in("a user's broker that is to be replaced") else { return };
    let daemon = builder.start();
    // A process of the same user, which the broker did not start.
    let own = if is_root() { HelperProcess::user(TRIER) } else { HelperProcess::same() };
    let mut newcomer = Newcomer::of(own, daemon.socket());
    newcomer.is_let_in();
    drop(newcomer);
    let supervisor = process::status(daemon.supervisor_pid(), "Seccomp_filters");
    let worker = process::status(daemon.worker_pid(), "Seccomp_filters");
    assert!(worker.parse::<u32>().unwrap() >= supervisor.parse::<u32>().unwrap());
}

/// Becomes the program that is named, in a Landlock domain that refuses no more than to make device nodes.
const CONFINED: &str = r#"#!/usr/bin/env python3
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *rest):
    found = libc.syscall(number, *rest)
    if found < 0: raise OSError(ctypes.get_errno(), f"system call {number}")
    return found
MAKE_BLOCK = (ctypes.c_uint64 * 1)(1 << 11)
rules = call(444, ctypes.byref(MAKE_BLOCK), ctypes.c_size_t(8), 0)
assert libc.prctl(38, 1, 0, 0, 0) == 0
call(446, rules, 0)
os.execv("DAEMON", ["DAEMON"] + sys.argv[1:])
"#;

#[test]
fn what_landlock_alone_confines_is_refused() {
    let what = "a new broker in a Landlock domain";
    let Some(builder) = Daemon::built_in(what) else { return };
    let daemon = builder.start();
    let program = CONFINED.replace("DAEMON", binaries().daemon.to_str().unwrap());
    let program = daemon.directory().file("confined", program, 0o755);
    let confined = || Daemon::built_in(what).unwrap().daemon(program.clone());
    let (_, said) = confined().argument("--version").fail();
    if said.contains("system call 444") {
        return skip(what, "the kernel has no Landlock, or it is switched off");
    }
    let newer = confined().socket(daemon.socket().to_owned()).argument("--replace");
    let (status, said) = newer.fail();
    assert!(status == 1 && said.contains("this process may not look into it"), "{said}");
    // Nor does it help not to look.
    let own = if is_root() { HelperProcess::user(TRIER) } else { HelperProcess::same() };
    let mut newcomer = Newcomer::of(own.clone(), daemon.socket());
    newcomer.is_let_in();
    assert!(newcomer.says(Handover::Begin { room: u64::MAX, name: "/memfd:x".to_owned() }));
    let answer = newcomer.hears();
    assert!(
        matches!(&answer, Some(Handover::Refused(why)) if why.contains("Landlock")),
        "{answer:?}"
    );
    assert!(daemon.log().text().contains(REFUSED));
    own.connect(&daemon).is_served((1, 0));
}

#[test]
fn another_version_is_refused_with_the_reason() {
    let site = Site::new();
    let daemon = site.broker().start();
    match Newcomer::at(&site.socket()).asks(7) {
        Some(Handover::Refused(why)) => {
            assert_eq!(why, "it speaks version 7 of the hand-over, and I version 3");
        }
        other => panic!("{other:?}"),
    }
    daemon.connect().is_served((1, 0));
}

#[test]
fn one_that_a_service_manager_starts_says_what_is_to_be_done() {
    let site = Site::new();
    let daemon = site.broker().start();
    let notify = site.directory.join("notify");
    let _manager = std::os::unix::net::UnixDatagram::bind(&notify).unwrap();
    let (status, said) = site.newer().environment("NOTIFY_SOCKET", notify).fail();
    assert!(status == 1 && said.contains("start this one without $NOTIFY_SOCKET"), "{said}");
    daemon.connect().is_served((1, 0));
}

#[test]
fn a_broker_of_a_service_manager_is_not_replaced() {
    let site = Site::new();
    let manager = std::os::unix::net::UnixDatagram::bind(site.directory.join("notify")).unwrap();
    let daemon = site.broker().environment("NOTIFY_SOCKET", site.directory.join("notify")).start();
    let (status, said) = site.newer().fail();
    assert!(status == 1 && said.contains("use systemctl restart"), "{said}");
    Peer::connect(daemon.socket()).unwrap().is_served((1, 0));
    drop(manager);
}
