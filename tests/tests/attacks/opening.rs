//! A file at a resource's path that is not what the policy says.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use fdbroker_tests::{
    Builder, Daemon, Directory, HelperProcess, Peer, SilentFiles, fixtures, is_root, needs_root,
    process, request, skip, wait_until,
};
use rustix::fs::{CWD, FileType, Mode};

const SLOT: (i16, i32) = (1, 5);

/// A policy with one resource, whose keys are given, open to everyone.
fn with_resource(keys: &str) -> String {
    format!("{}\n[resources.thing]\nslot = \"open/5\"\n{keys}\n", fixtures::OPEN)
}

fn start(builder: Builder, keys: &str) -> Daemon {
    builder.policy(&with_resource(keys)).start()
}

#[track_caller]
fn is_refused_to_open(peer: &mut Peer) {
    let errno = peer.get(SLOT).errno();
    assert!([libc::ENODEV, libc::EIO].contains(&errno), "errno {errno}");
}

fn file_key(path: &Path) -> String {
    format!("file = {path:?}")
}

#[test] // attack 25, the last component
fn a_path_that_becomes_a_symlink_is_not_followed() {
    let builder = Daemon::open();
    let path = builder.directory().private_file("file", "right");
    let other = builder.directory().private_file("other", "wrong");
    let daemon = start(builder, &file_key(&path));
    let mut peer = daemon.connect();
    let before = daemon.descriptors_with(&mut peer);
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "right");
    fs::remove_file(&path).unwrap();
    symlink(&other, &path).unwrap();
    is_refused_to_open(&mut peer);
    daemon.wait_for_descriptors(before);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "right again").unwrap();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "right again");
}

#[test] // attack 25, a middle component
fn a_directory_of_the_path_that_becomes_a_symlink_is_not_followed() {
    let builder = Daemon::open();
    let (inner, other) = (builder.directory().join("inner"), builder.directory().join("other"));
    for (directory, content) in [(&inner, "right"), (&other, "wrong")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("file"), content).unwrap();
    }
    let daemon = start(builder, &file_key(&inner.join("file")));
    let mut peer = daemon.connect();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "right");
    fs::rename(&inner, daemon.directory().join("gone")).unwrap();
    symlink(&other, &inner).unwrap();
    is_refused_to_open(&mut peer);
}

#[test] // attack 25, where it is allowed
fn symlinks_are_followed_where_the_policy_says_so_and_the_type_is_still_checked() {
    let builder = Daemon::open();
    let target = builder.directory().private_file("target", "right");
    let link = builder.directory().join("link");
    symlink(&target, &link).unwrap();
    let daemon = start(builder, &format!("{}\nfollow_symlinks = true", file_key(&link)));
    let mut peer = daemon.connect();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "right");
    fs::remove_file(&link).unwrap();
    symlink("/dev/null", &link).unwrap();
    assert_eq!(peer.get(SLOT).errno(), libc::ENODEV);
}

#[test] // attack 25, the magic links of /proc
fn a_link_of_proc_is_not_followed_even_where_symlinks_are() {
    let keys = "file = \"/proc/self/exe\"\nfollow_symlinks = true";
    let daemon = start(Daemon::open(), keys);
    is_refused_to_open(&mut daemon.connect());
}

#[test] // attack 25, type
fn a_file_where_a_device_should_be_and_the_reverse_are_not_handed_out() {
    let builder = Daemon::open();
    let path = builder.directory().private_file("file", "no device");
    let daemon = start(builder, &format!("device = {path:?}"));
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::ENODEV);
    let said = daemon.log().text();
    assert!(said.contains("is a regular file, not a device"), "{said}");
    assert!(said.contains("then reload (`fdbroker reload`, or SIGHUP)"), "{said}");
    let daemon = start(Daemon::open(), "file = \"/dev/null\"");
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::ENODEV);
    let daemon = start(Daemon::open(), "file = \"/tmp\"");
    is_refused_to_open(&mut daemon.connect());
}

#[test] // attack 25, number
fn a_device_with_another_number_than_the_policys_is_not_handed_out() {
    let daemon = start(Daemon::open(), "device = \"/dev/null\"\nnumber = \"1:5\"");
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::ENODEV);
    let daemon = start(Daemon::open(), "device = \"/dev/null\"\nnumber = \"1:3\"");
    daemon.connect().get(SLOT).descriptor();
}

#[test] // attack 25, a node replaced by another
fn a_device_node_replaced_by_another_device_is_handed_out_unless_its_number_is_pinned() {
    for (pin, answer) in [("", None), ("\nnumber = \"1:3\"", Some(libc::ENODEV))] {
        let builder = Daemon::open();
        let node = builder.directory().join("node");
        if !make_device(&node, 1, 3) {
            return;
        }
        let daemon = start(builder, &format!("device = {node:?}{pin}"));
        let mut peer = daemon.connect();
        peer.get(SLOT).descriptor();
        fs::remove_file(&node).unwrap();
        assert!(make_device(&node, 1, 5));
        match answer {
            Some(errno) => assert_eq!(peer.get(SLOT).errno(), errno),
            None => drop(peer.get(SLOT).descriptor()),
        }
    }
}

#[test] // attack 26
fn a_fifo_in_the_place_of_a_device_is_an_error_at_once_and_nothing_hangs() {
    for access in ["read", "write", "read-write"] {
        let builder = Daemon::open();
        let node = builder.directory().join("node");
        let device = make_device(&node, 1, 3);
        let daemon = start(builder, &format!("device = {node:?}\naccess = \"{access}\""));
        let mut peer = daemon.connect();
        let before = daemon.descriptors_with(&mut peer);
        if device {
            peer.get(SLOT).descriptor();
            fs::remove_file(&node).unwrap();
        }
        rustix::fs::mknodat(CWD, &node, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let start = Instant::now();
        for _ in 0..100 {
            is_refused_to_open(&mut peer);
        }
        assert!(start.elapsed() < Duration::from_secs(9), "opening a FIFO waited");
        peer.is_served((1, 6));
        daemon.wait_for_descriptors(before);
    }
}

#[test] // attack 26, of a file
fn a_fifo_in_the_place_of_a_file_is_an_error_at_once() {
    let directory = Directory::new();
    let path = directory.join("fifo");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let daemon = start(Daemon::open(), &file_key(&path));
    is_refused_to_open(&mut daemon.connect());
}

#[test]
fn a_caller_waits_for_a_resource_as_long_as_the_policy_says() {
    let Some(silent) = SilentFiles::mount() else { return };
    let keys = format!("{}\nopen_timeout = \"300ms\"", file_key(&silent.file()));
    let daemon = start(Daemon::open(), &keys);
    let mut peer = daemon.connect();
    let start = Instant::now();
    assert_eq!(peer.get(SLOT).errno(), libc::ETIMEDOUT);
    let waited = start.elapsed();
    // Ten seconds are the default.
    assert!((Duration::from_millis(300)..Duration::from_secs(9)).contains(&waited), "{waited:?}");
    peer.is_served((1, 6));
}

#[test] // attack 27
fn a_terminal_does_not_become_the_daemons_controlling_terminal() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let Ok(master) = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY) else {
        return skip("a terminal as a resource", "no pseudo-terminal can be made here");
    };
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    for opening in ["per-request", "startup"] {
        let keys = format!("device = {name:?}\naccess = \"read-write\"\nopen = \"{opening}\"");
        let daemon = start(Daemon::open().own_session(), &keys);
        let supervisor = daemon.supervisor_pid();
        // Only a session leader without a terminal could gain one.
        assert_eq!(process::stat(supervisor).unwrap()[3], supervisor.to_string());
        let terminal = daemon.connect().get(SLOT).descriptor();
        assert!(rustix::termios::isatty(&terminal));
        for pid in [supervisor, daemon.worker_pid()] {
            assert_eq!(process::stat(pid).unwrap()[4], "0", "process {pid} has a terminal");
        }
    }
}

#[test]
fn a_resource_that_is_not_there_is_an_error_and_comes_when_it_does() {
    let builder = Daemon::open();
    let path = builder.directory().join("later");
    let daemon = start(builder, &file_key(&path));
    let mut peer = daemon.connect();
    is_refused_to_open(&mut peer);
    fs::write(&path, "here now").unwrap();
    assert_eq!(fixtures::content(peer.get(SLOT).descriptor()), "here now");
}

#[test]
fn what_cannot_be_opened_is_an_error_line_when_that_begins_and_one_line_when_it_is_over() {
    let builder = Daemon::open();
    let path = builder.directory().join("later");
    let daemon = start(builder, &file_key(&path));
    let mut peer = daemon.connect();
    for _ in 0..200 {
        is_refused_to_open(&mut peer);
    }
    let said = |what: &str| {
        let lines = daemon.log().lines();
        lines.iter().filter(|line| line.kind.is_empty() && line.message.contains(what)).count()
    };
    assert_eq!(said("cannot be opened"), 1);
    fs::write(&path, "here now").unwrap();
    wait_until("it is said that it opens again", || {
        peer.get(SLOT).descriptor();
        said("can be opened again; failed attempts before that: 200") == 1
    });
}

#[test]
fn many_users_who_ask_at_once_for_what_opens_are_all_served() {
    if !needs_root("requests of many users") {
        return;
    }
    let daemon = start(Daemon::open(), "device = \"/dev/null\"");
    let people: Vec<_> = (64041..64049).map(HelperProcess::user).collect();
    let mut peers: Vec<Peer> =
        people.iter().flat_map(|person| (0..8).map(|_| person.connect(&daemon))).collect();
    for _ in 0..20 {
        peers.iter_mut().for_each(|peer| peer.send(&request::get(SLOT), &[]));
        peers.iter_mut().for_each(|peer| drop(peer.answer().descriptor()));
    }
}

/// More than all threads that open, each with a user who has as many openings under way as one may have.
const STALLED: (u32, usize) = (64_300, 33);

#[test]
fn servers_that_do_not_respond_keep_no_device_from_opening() {
    if !needs_root("requests of many users") {
        return;
    }
    // It is connected to, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut policy = with_resource("device = \"/dev/null\"");
    for index in 20..29 {
        write!(
            policy,
            "\n[resources.silent-{index}]\nslot = \"open/{index}\"\nconnect = \"tcp:{address}\"\n\
             auth = {{ redis = {{}} }}\nopen_timeout = \"300s\"\n"
        )
        .unwrap();
    }
    let daemon = Daemon::open().policy(&policy).start();
    let (first, number) = STALLED;
    let people: Vec<_> = (first..).take(number).map(HelperProcess::user).collect();
    let mut stalled: Vec<Peer> =
        people.iter().flat_map(|person| (0..8).map(|_| person.connect(&daemon))).collect();
    for (index, peer) in (20..29).cycle().zip(&mut stalled) {
        peer.send(&request::get((1, index)), &[]);
    }
    // Those for which there is no thread are told so: then all others have one.
    assert_eq!(stalled.last_mut().unwrap().answer().errno(), libc::EBUSY);
    let mut other = HelperProcess::user(64_299).connect(&daemon);
    other.get(SLOT).descriptor();
}

/// Makes a node of a character device; says aloud where that cannot be.
fn make_device(path: &Path, major: u32, minor: u32) -> bool {
    if !is_root() {
        skip("a device node of our own", "only root can make one");
        return false;
    }
    let number = rustix::fs::makedev(major, minor);
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, number).unwrap();
    let opens = fs::File::open(path);
    if let Err(error) = &opens {
        skip("a device node of our own", &format!("{}: {error}", path.display()));
        fs::remove_file(path).unwrap();
    }
    opens.is_ok()
}
