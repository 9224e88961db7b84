//! Resources of `open = "startup"` that are not there, and devices that come back.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use fdbroker_tests::{Builder, Daemon, SilentFiles, fixtures, is_root, skip, wait_until};
use rustix::fs::{CWD, FileType, Mode, fstat};

use super::{logs, status_has};

const SLOT: (i16, i32) = (1, 1);

/// A daemon with a resource in slot 1/1, where anyone may do anything, and ask for the status.
fn with(builder: Builder, keys: &str) -> Builder {
    let operators = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nanyone = true\n";
    let resource = format!("[resources.thing]\nslot = \"open/1\"\nopen = \"startup\"\n{keys}\n");
    builder.policy(&format!("{}{operators}{resource}", fixtures::OPEN))
}

/// Makes a node of a character device in the place of what is there; says aloud where that cannot be.
fn make_device(path: &Path, minor: u32) -> bool {
    if !is_root() {
        skip("a device node of our own", "only root can make one");
        return false;
    }
    // Not there, the first time.
    let _ = fs::remove_file(path);
    let (mode, number) = (Mode::from_raw_mode(0o666), rustix::fs::makedev(1, minor));
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, number).unwrap();
    let opens = fs::File::open(path);
    if let Err(error) = &opens {
        skip("a device node of our own", &format!("{}: {error}", path.display()));
    }
    opens.is_ok()
}

/// The minor number of the device that the slot has.
fn minor(daemon: &Daemon) -> u32 {
    let device = daemon.connect().get(SLOT).descriptor();
    rustix::fs::minor(fstat(device.as_fd()).unwrap().st_rdev)
}

#[test]
fn a_device_that_is_not_there_at_start_fails_alone_and_is_opened_when_it_appears() {
    let builder = Daemon::open();
    let node = builder.directory().join("bus/7/device");
    let daemon = with(builder, &format!("device = {node:?}")).start();
    logs(&daemon, "resource \\\"thing\\\": ");
    let mut peer = daemon.connect();
    assert_eq!(peer.get(SLOT).errno(), libc::EIO);
    peer.add((1, 0), "others go on").done();
    assert!(status_has(&daemon, "resources_failed=\"thing\""), "{}", daemon.says(&["status"]));
    assert!(status_has(&daemon, "degraded=resources"));
    fs::create_dir_all(node.parent().unwrap()).unwrap();
    if !make_device(&node, 3) {
        return;
    }
    logs(&daemon, "resource \\\"thing\\\" is open");
    wait_until("it has not failed any more", || status_has(&daemon, "resources_failed=none"));
    assert_eq!(minor(&daemon), 3);
    let records = daemon.log().audit().into_iter().filter(|line| line.kind == "open");
    assert_eq!(records.filter(|line| line.right == "open").count(), 1);
}

#[test]
fn a_file_that_is_not_there_at_start_is_tried_again_for_each_caller() {
    let builder = Daemon::open();
    let path = builder.directory().join("later");
    let daemon = with(builder, &format!("file = {path:?}")).start();
    let mut peer = daemon.connect();
    assert_eq!(peer.get(SLOT).errno(), libc::EIO);
    fs::write(&path, "here now").unwrap();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "here now");
    // It is one open file for all, as ever.
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "");
}

#[test]
fn a_resource_that_hangs_at_start_keeps_nobody_but_its_callers_waiting() {
    let Some(silent) = SilentFiles::mount() else { return };
    let keys = format!("file = {:?}\nopen_timeout = \"300ms\"", silent.file());
    let daemon = with(Daemon::open(), &keys).start();
    logs(&daemon, "it did not open within 300ms");
    let mut peer = daemon.connect();
    peer.is_served((1, 6));
    assert_eq!(peer.get(SLOT).errno(), libc::ETIMEDOUT);
}

#[test]
fn a_device_that_comes_back_with_another_number_is_opened_again() {
    let builder = Daemon::open();
    let node = builder.directory().join("node");
    if !make_device(&node, 3) {
        return;
    }
    let daemon = with(builder, &format!("device = {node:?}")).start();
    assert_eq!(minor(&daemon), 3);
    fs::remove_file(&node).unwrap();
    assert_eq!(minor(&daemon), 3, "what is open stays open");
    assert!(make_device(&node, 5));
    wait_until("the other device is handed out", || minor(&daemon) == 5);
}

#[test]
fn a_device_whose_number_the_policy_pins_is_not_replaced_by_another() {
    let builder = Daemon::open();
    let node = builder.directory().join("node");
    if !make_device(&node, 5) {
        return;
    }
    let daemon = with(builder, &format!("device = {node:?}\nnumber = \"1:3\"")).start();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::ENODEV);
    assert!(make_device(&node, 3));
    wait_until("the right one is open", || status_has(&daemon, "resources_failed=none"));
    assert_eq!(minor(&daemon), 3);
}

#[test]
fn a_file_that_was_replaced_is_opened_again_by_a_reload() {
    let builder = Daemon::open();
    let path = builder.directory().private_file("file", "first");
    let daemon = with(builder, &format!("file = {path:?}")).start();
    let mut peer = daemon.connect();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "first");
    daemon.says(&["reload"]);
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "", "it is the same as before");
    let new = daemon.directory().private_file("new", "second");
    fs::rename(new, &path).unwrap();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "");
    daemon.says(&["reload"]);
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "second");
}
