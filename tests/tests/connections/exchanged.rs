//! Unix sockets of servers that another user could exchange: the broker sends no password there.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use fdbroker_tests::{Daemon, Postgres, is_root, skip};

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
