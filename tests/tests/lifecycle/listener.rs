//! A worker that was taken over does something to the listening socket, which it shares.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use fdbroker_tests::{
    Daemon, Directory, HelperProcess, Ids, Peer, needs_root, process, skip, sys, wait_for,
    wait_until,
};
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{Shutdown, shutdown};

use super::{daemon, logs, status_has};

const GROUP: u32 = 64098;
const MEMBER: u32 = 64099;

/// The worker's listening socket; `None` if we may not take it.
fn listener(daemon: &Daemon) -> Option<OwnedFd> {
    let worker = daemon.worker_pid();
    let mut numbers = process::descriptors(worker).unwrap().into_keys();
    numbers.find_map(|number| {
        let descriptor = sys::taken_from(worker, number).ok()?;
        socket_acceptconn(&descriptor).unwrap_or(false).then_some(descriptor)
    })
}

fn is_served(daemon: &Daemon) -> bool {
    Peer::connect(daemon.socket()).is_ok_and(|mut peer| {
        peer.try_send(&fdbroker_tests::request::get((1, 1)), &[]).is_ok()
            && peer.try_answer().is_ok_and(|answer| !answer.is_closed())
    })
}

#[test]
fn a_listener_that_was_shut_down_is_made_anew() {
    let daemon = daemon();
    let Some(listener) = listener(&daemon) else {
        return skip("a listener that was shut down", "descriptors of others cannot be taken");
    };
    daemon.connect().add((1, 1), "kept").done();
    shutdown(&listener, Shutdown::Both).unwrap();
    wait_until("clients are served again", || is_served(&daemon));
    assert_eq!(daemon.connect().get((1, 1)).payload(), b"kept");
    logs(&daemon, "the listening socket has been shut down");
    assert!(status_has(&daemon, "listener=replaced"), "{}", daemon.says(&["status"]));
}

#[test]
fn a_listener_passed_in_is_replaced_at_its_path_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let path = directory.join("passed");
    let passed = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let daemon = Daemon::open().listening(passed).socket(path.clone()).start();
    let Some(listener) = listener(&daemon) else {
        return skip("a passed-in listener", "descriptors of others cannot be taken");
    };
    shutdown(&listener, Shutdown::Both).unwrap();
    wait_until("clients are served again", || is_served(&daemon));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    logs(&daemon, "systemctl restart fdbrokerd.service");
}

/// A passed-in socket of a user and group, shut down and made again; returns where it is.
fn is_replaced_for(user: u32, group: u32) -> Option<(Daemon, PathBuf, Directory)> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let what = "a passed-in listener of another user or group";
    if !needs_root(what) {
        return None;
    }
    let directory = Directory::new();
    let path = directory.join("passed");
    let passed = UnixListener::bind(&path).unwrap();
    chown(&path, Some(user), Some(group)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).unwrap();
    let daemon = Daemon::open().listening(passed).socket(path.clone()).start();
    let Some(listener) = listener(&daemon) else {
        skip(what, "descriptors of others cannot be taken");
        return None;
    };
    shutdown(&listener, Shutdown::Both).unwrap();
    wait_until("clients are served again", || is_served(&daemon));
    logs(&daemon, "a new one listens on");
    Some((daemon, path, directory))
}

#[test]
fn a_listener_passed_in_is_replaced_with_its_group() {
    use std::os::unix::fs::MetadataExt;
    let Some((daemon, path, _directory)) = is_replaced_for(0, GROUP) else { return };
    let file = std::fs::metadata(&path).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (0, GROUP, 0o660));
    assert!(!daemon.log().text().contains("it now belongs to user"));
    let ids = Ids { uid: MEMBER, gid: MEMBER, groups: vec![GROUP] };
    HelperProcess::who_is(ids).connect(&daemon).is_served((1, 1));
    // For a moment it was the supervisor's own.
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.supervisor_pid()));
    assert!(status.unwrap().contains("Gid:\t0\t0\t0\t0\n"));
}

#[test]
fn that_a_replaced_listener_has_another_owner_is_said() {
    let Some((daemon, _path, _directory)) = is_replaced_for(MEMBER, GROUP) else { return };
    logs(
        &daemon,
        "it now belongs to user 0 and group 64098, not to user 64099 and group 64098 as before",
    );
}

#[test]
fn passcred_that_was_switched_off_is_switched_on() {
    let daemon = daemon();
    let Some(listener) = listener(&daemon) else {
        return skip("SO_PASSCRED switched off", "descriptors of others cannot be taken");
    };
    let worker = daemon.worker_pid();
    sys::pass_credentials(&listener, false).unwrap();
    wait_for("the worker is replaced", || (daemon.worker_pid() != worker).then_some(()));
    wait_until("clients are served again", || is_served(&daemon));
    logs(&daemon, "SO_PASSCRED of the listening socket");
}

#[test]
fn a_socket_file_that_was_deleted_is_made_again() {
    let daemon = daemon();
    let worker = daemon.worker_pid();
    let mut peer = daemon.connect();
    peer.add((1, 1), "kept").done();
    std::fs::remove_file(daemon.socket()).unwrap();
    wait_until("clients are served again", || is_served(&daemon));
    assert_eq!(daemon.connect().get((1, 1)).payload(), b"kept");
    logs(&daemon, "was deleted; it has been recreated");
    assert!(status_has(&daemon, "listener=replaced"), "{}", daemon.says(&["status"]));
    // Connected peers noticed nothing.
    assert_eq!(peer.get((1, 1)).payload(), b"kept");
    assert_eq!(daemon.worker_pid(), worker);
}

#[test]
fn a_socket_whose_directory_was_deleted_is_made_again_with_its_lock() {
    let directory = Directory::new();
    let place = directory.join("place");
    std::fs::create_dir(&place).unwrap();
    let daemon = Daemon::open().socket(place.join("socket")).start();
    std::fs::remove_dir_all(&place).unwrap();
    logs(&daemon, "was deleted: nobody can connect");
    std::fs::create_dir(&place).unwrap();
    wait_until("clients are served again", || is_served(&daemon));
    let (_, said) = Daemon::open().socket(place.join("socket")).fail();
    assert!(said.contains(&format!("(pid {})", daemon.supervisor_pid())), "{said}");
}

#[test]
fn a_passed_in_socket_that_was_deleted_is_told_at_each_hangup() {
    let directory = Directory::new();
    let path = directory.join("passed");
    let daemon = Daemon::open().listening(UnixListener::bind(&path).unwrap()).socket(path.clone());
    let daemon = daemon.start();
    std::fs::remove_file(&path).unwrap();
    let told =
        || daemon.log().text().matches("only the service manager can create it again").count();
    wait_until("the log says it", || told() == 1);
    daemon.hang_up();
    wait_until("the log says it again", || told() == 2);
}
