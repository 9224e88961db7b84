//! Unix sockets of servers that another user could exchange: the broker sends no password there.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fdbroker_tests::{Daemon, Postgres, is_root, request, skip};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::resource::{SLOT, current_user, daemon, failure, unix};

const ALICE: u32 = 70_001;
const BOB: u32 = 70_009;
/// A system account, but not the server's.
const SYSTEM: u32 = 641;
const SCRAM: &str = "local all all scram-sha-256";

fn give(path: &Path, uid: Option<u32>, gid: Option<u32>) {
    chown(path, uid, gid).unwrap();
}

/// What the log says of a log-in that is refused before a server hears of it.
#[track_caller]
fn refused(daemon: &Daemon) -> String {
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    failure(daemon)
}

#[test]
fn a_user_who_exchanges_a_socket_gets_no_password() {
    if !is_root() {
        return skip("a user who exchanges a socket gets no password", "only root can be others");
    }
    let place = fdbroker_tests::Directory::new();
    let socket = place.join("sock");
    let daemon = daemon(&format!("\"unix:{}\"", socket.display()), "hunter2", "");
    give(place.path(), Some(ALICE), Some(ALICE));
    for owner in [BOB, ALICE] {
        let _ = fs::rename(&socket, place.join("old"));
        let server = UnixListener::bind(&socket).unwrap();
        give(&socket, Some(owner), Some(owner));
        let said = refused(&daemon);
        assert!(said.contains("belongs to user 70001, who can exchange"), "{owner}: {said}");
        server.set_nonblocking(true).unwrap();
        assert_eq!(server.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody came");
    }
}

/// A system account's directory, where its group may write, and two sockets on which root listens: the account's, and a
/// user's. Another thread exchanges them as long as the connections last.
#[test]
fn a_member_of_the_servers_group_who_exchanges_its_socket_gets_no_password() {
    let what = "a member of the server's group who exchanges its socket gets no password";
    if !is_root() {
        return skip(what, "only root can be others");
    }
    let directory = fdbroker_tests::Directory::new();
    let place = directory.join("run");
    fs::create_dir(&place).unwrap();
    give(&place, Some(SYSTEM), Some(SYSTEM));
    fs::set_permissions(&place, Permissions::from_mode(0o2775)).unwrap();
    let [socket, other] = ["socket", "other"].map(|name| place.join(name));
    let [servers, users] = [(&socket, SYSTEM), (&other, ALICE)].map(|(path, owner)| {
        let listener = UnixListener::bind(path).unwrap();
        give(path, Some(owner), Some(owner));
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    });
    let daemon = daemon(&format!("\"unix:{}\"", socket.display()), "hunter2", "");
    let done = AtomicBool::new(false);
    let (came, stolen) = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &socket, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                thread::yield_now();
            }
        });
        let (mut came, mut stolen) = (0, 0);
        let mut peer = daemon.connect();
        for _ in 0..60 {
            peer.send(&request::get(SLOT), &[]);
            // Each hangs up at once, if somebody comes.
            while !peer.is_answered(Duration::from_millis(1)) {
                came += u32::from(servers.accept().is_ok());
                stolen += u32::from(users.accept().is_ok());
            }
            assert_eq!(peer.answer().errno(), libc::EIO);
        }
        done.store(true, Ordering::Relaxed);
        (came, stolen)
    });
    assert_eq!(stolen, 0, "connections that the user's socket had");
    assert!(came > 0, "the server's socket is found at times: {}", daemon.log().text());
}

#[test]
fn a_server_must_run_as_the_owner_of_its_socket() {
    let what = "a server must run as the owner of its socket";
    if !is_root() {
        return skip(what, "only root can be others");
    }
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    let daemon = daemon(&unix(&server), "hunter2", "");
    let socket = server.socket();
    let directory = socket.parent().unwrap();
    fs::set_permissions(directory, Permissions::from_mode(0o2775)).unwrap();
    give(&socket, None, Some(BOB));
    let session = daemon.connect().get(SLOT);
    assert_eq!(current_user(session, &daemon), "orders", "unix_socket_group");
    fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    give(directory, Some(0), None);
    give(&socket, Some(SYSTEM), None);
    let said = refused(&daemon);
    assert!(said.contains("but the socket belonged to user 641; nothing was sent"), "{said}");
}
