//! The main job: a program gets, through the broker, what it could not open itself, because the
//! policy says so; and no more than that.

use std::io;

use fdbroker_tests::{Daemon, Directory, HelperProcess, Ids, Peer, fixtures, is_root, needs_root};
use rustix::fs::OFlags;

const VPN: u32 = 64101;
const SLOT: (i16, i32) = (1, 0);
const OTHER: (i16, i32) = (1, 1);

#[test]
fn an_unprivileged_user_gets_a_device_that_it_cannot_open() {
    if !needs_root("a real restricted device") {
        return;
    }
    let (path, bytes) = fixtures::restricted_device().expect("a machine has a restricted device");
    eprintln!("the device is {}", path.display());
    let policy = format!(
        "[tags.devices]\nid = 1\n\
         [resources.device]\nslot = \"devices/0\"\ndevice = {path:?}\naccess = \"read\"\n\
         [resources.other]\nslot = \"devices/1\"\ndevice = \"/dev/null\"\n\
         [[rules]]\nid = \"vpn\"\nallow = [\"get\"]\nslots = [\"device\"]\nuser = {VPN}\n"
    );
    let daemon = Daemon::with_policy(&policy).start();
    let helper = HelperProcess::user(VPN);
    let error = helper.open(&path, false).expect_err("it cannot open the device itself");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);

    let mut peer = helper.connect(&daemon);
    let device = peer.get(SLOT).descriptor();
    assert!(fixtures::same_file(&device, std::fs::File::open(&path).unwrap()));
    assert_eq!(fixtures::access_mode(&device), OFlags::RDONLY);
    assert!(!fixtures::flags(&device).contains(OFlags::NONBLOCK));
    // Used by the one who got it, in its own process.
    let read = helper.keep(&device).read(bytes).unwrap();
    assert_eq!(read.len(), bytes);

    assert_eq!(peer.get(OTHER).errno(), libc::EACCES);
    assert_eq!(HelperProcess::user(VPN + 1).connect(&daemon).get(SLOT).errno(), libc::EACCES);
    let record = &daemon.log().decisions()[0];
    assert_eq!((record.verdict.as_str(), record.uid), ("granted", VPN));
    assert_eq!(record.rule.as_deref(), Some("vpn"));
}

#[test]
fn without_root_a_descriptor_outlives_the_path_that_it_was_opened_by() {
    let Some(builder) = Daemon::built_in("the built-in policy") else { return };
    let daemon = builder.start();
    let owner = if is_root() {
        HelperProcess::user(fdbroker_tests::daemon::TRIER)
    } else {
        HelperProcess::same()
    };
    let directory = Directory::new();
    let path = directory.private_file("private", "parked");
    let file = std::fs::File::open(&path).unwrap();
    let mut first = owner.connect(&daemon);
    first.add_descriptor((3, 0), &file, "").done();
    drop((first, file));
    std::fs::remove_file(&path).unwrap();
    let mut second = owner.connect(&daemon);
    assert_eq!(fixtures::content(second.get((3, 0)).descriptor()), "parked");
    assert_eq!(second.get((40, 0)).errno(), libc::EACCES, "tag 40 is not of the built-in policy");
}

/// A daemon with one file as a resource, open to everyone.
fn with_file(content: &str, keys: &str) -> Daemon {
    let builder = Daemon::open();
    let path = builder.directory().private_file("file", content);
    let resource = format!("[resources.thing]\nslot = \"open/0\"\nfile = {path:?}\n{keys}\n");
    builder.policy(&format!("{}\n{resource}", fixtures::OPEN)).start()
}

#[test]
fn each_caller_of_a_per_request_resource_has_an_offset_of_its_own() {
    let daemon = with_file("content", "");
    let mut peer = daemon.connect();
    let (first, second) = (peer.get(SLOT).descriptor(), peer.get(SLOT).descriptor());
    assert!(fixtures::same_file(&first, &second));
    assert_eq!(fixtures::content(first), "content");
    assert_eq!(fixtures::content(second), "content");
}

#[test]
fn all_callers_of_a_startup_resource_share_one_offset() {
    let daemon = with_file("content", "open = \"startup\"");
    let first = daemon.connect().get(SLOT).descriptor();
    let second = daemon.connect().get(SLOT).descriptor();
    assert_eq!(fixtures::content(first), "content");
    assert_eq!(fixtures::content(second), "");
}

#[test]
fn a_startup_resource_is_what_it_was_when_the_daemon_started() {
    let daemon = with_file("content", "open = \"startup\"");
    std::fs::remove_file(daemon.directory().join("file")).unwrap();
    assert_eq!(fixtures::content(daemon.connect().get(SLOT).descriptor()), "content");
    daemon.kill_worker();
    let mut peer = daemon.connect();
    assert!(matches!(peer.get(SLOT), fdbroker_tests::Answer::Deposit { descriptor: Some(_), .. }));
}

#[test]
fn a_resource_is_opened_for_what_the_policy_says_and_not_for_more() {
    let modes = [("read", OFlags::RDONLY), ("write", OFlags::WRONLY), ("read-write", OFlags::RDWR)];
    for (access, mode) in modes {
        for opening in ["per-request", "startup"] {
            let daemon = with_file("x", &format!("access = \"{access}\"\nopen = \"{opening}\""));
            let descriptor = daemon.connect().get(SLOT).descriptor();
            assert_eq!(fixtures::access_mode(&descriptor), mode, "{access} {opening}");
            assert!(!fixtures::flags(&descriptor).contains(OFlags::NONBLOCK), "{access} {opening}");
        }
    }
}

#[test]
fn a_resource_that_only_root_can_open_is_opened_by_the_supervisor_not_the_worker() {
    if !needs_root("a file that only root can open") {
        return;
    }
    let daemon = with_file("only root's", "");
    let ids = Ids::plain(VPN);
    let mut peer: Peer = HelperProcess::who_is(ids).connect(&daemon);
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "only root's");
}

#[test]
fn a_tag_counts_its_resources_and_its_deposits() {
    let builder = Daemon::open();
    let resource = "[resources.null]\nslot = \"open/9\"\ndevice = \"/dev/null\"\n";
    let daemon = builder.policy(&format!("{}\n{resource}", fixtures::OPEN)).start();
    let mut peer = daemon.connect();
    peer.add((1, 2), "four").done();
    peer.add((1, 4), "fourteen bytes").done();
    let answer = peer.tag(1);
    let fdbroker_tests::Answer::Info { used, total } = answer else { panic!("{answer:?}") };
    assert_eq!(total, 18);
    // The policy's own slots may be counted or not; the deposits are.
    assert!(used == 5 || used == 10, "{used}");
}
