//! How the daemon starts and ends, and what keeps it from starting.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use fdbroker_tests::binaries::binaries;
use fdbroker_tests::{
    Daemon, Directory, HelperProcess, Ids, PATIENCE, Peer, fixtures, is_root, needs_root, process,
    skip, wait_until,
};
use rustix::process::Signal;

#[test]
fn it_ends_with_0_on_sigterm_and_on_sigint_and_its_socket_is_gone() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::open().start();
        daemon.connect().is_served((1, 0));
        let worker = daemon.worker_pid();
        assert!(daemon.socket().exists());
        assert_eq!(daemon.end(signal).code(), Some(0), "{signal:?}");
        assert!(!daemon.socket().exists(), "{signal:?}");
        assert!(fdbroker_tests::process::has_ended(worker), "the worker outlives {signal:?}");
    }
}

/// What other processes of an ordinary user have in flight counts for its broker too.
#[test]
fn a_broker_starts_a_worker_while_too_many_descriptors_of_its_user_are_in_flight() {
    if !needs_root("descriptors in flight of another user") {
        return;
    }
    let Some(broker) = Daemon::built_in("descriptors in flight") else { return };
    let (unread, sends) = UnixStream::pair().unwrap();
    let other = HelperProcess::user(CROWDED);
    let file = fixtures::file_saying("in flight");
    other.keep(&sends).send(b"x", &[file.as_fd(); 200]).unwrap();
    // The worker gets what it needs when there is room again.
    let makes_room = std::thread::spawn(move || {
        wait_until("a worker is there", || has_worker_of(CROWDED));
        drop(unread);
    });
    drop(broker.run_as(Ids::plain(CROWDED)).descriptor_limit(150).start());
    makes_room.join().unwrap();
}

const CROWDED: u32 = 64241;

fn has_worker_of(user: u32) -> bool {
    let of_user = |pid: &u32| fs::metadata(format!("/proc/{pid}")).is_ok_and(|it| it.uid() == user);
    let brokers = process::children(std::process::id()).into_iter();
    brokers.flat_map(process::workers).any(|worker| of_user(&worker))
}

#[test]
fn it_ends_at_once_while_peers_are_connected_and_wait() {
    let policy = fixtures::serial();
    let mut daemon = Daemon::with_policy(&policy).start();
    let mut owner = daemon.connect();
    owner.add((1, 0), "x").done();
    let mut waits = daemon.connect();
    waits.send(&fdbroker_tests::request::get((1, 0)), &[]);
    assert_eq!(daemon.end(Signal::TERM).code(), Some(0));
    assert!(owner.answer().is_closed());
    waits.until_closed();
}

#[test]
fn the_worker_ends_when_the_supervisor_is_killed() {
    let mut daemon = Daemon::open().start();
    let worker = daemon.worker_pid();
    daemon.kill();
    fdbroker_tests::wait_until("the orphaned worker ends", || {
        fdbroker_tests::process::has_ended(worker)
    });
}

#[test]
fn the_socket_file_of_a_dead_broker_is_replaced() {
    let directory = Directory::new();
    let path = directory.join("socket");
    let mut dead = Daemon::open().socket(path.clone()).start();
    dead.kill();
    assert!(path.exists(), "a killed broker leaves its socket behind");
    let daemon = Daemon::open().socket(path).start();
    daemon.connect().is_served((1, 0));
}

#[test]
fn the_socket_of_a_living_broker_is_an_error_that_names_it() {
    let directory = Directory::new();
    let path = directory.join("socket");
    let living = Daemon::open().socket(path.clone()).start();
    let (status, said) = Daemon::open().socket(path.clone()).fail();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    assert!(said.contains(&living.supervisor_pid().to_string()), "{said}");
    living.connect().is_served((1, 0));
}

#[test]
fn a_living_broker_whose_socket_file_was_deleted_is_named_all_the_same() {
    let directory = Directory::new();
    let path = directory.join("socket");
    // The lock file of one that died says its pid, until another writes its own.
    let mut dead = Daemon::open().socket(path.clone()).start();
    dead.kill();
    let living = Daemon::open().socket(path.clone()).start();
    fs::remove_file(&path).unwrap();
    let (status, said) = Daemon::open().socket(path.clone()).fail();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    assert!(said.contains(&format!("(pid {})", living.supervisor_pid())), "{said}");
}

#[test]
fn a_listener_whose_queue_is_full_keeps_no_other_broker_waiting() {
    let directory = Directory::new();
    let path = directory.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = fdbroker_tests::sys::fill_queue(&path);
    let (status, said) = Daemon::open().socket(path.clone()).fail();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("already listens") && said.contains(path.to_str().unwrap()), "{said}");
    assert!(path.exists(), "the socket of somebody who listens was removed");
    drop(waiting);
}

#[test]
fn of_ten_brokers_that_start_at_once_on_a_stale_socket_just_one_comes_up() {
    let directory = Directory::new();
    let path = directory.join("socket");
    drop(UnixListener::bind(&path).unwrap());
    let starting: Vec<_> = (0..10)
        .map(|_| {
            let mut command = Command::new(&binaries().daemon);
            let builder = Daemon::open();
            let body = format!("version = 1\n[broker]\nuser = 64001\n{}", fixtures::OPEN);
            let policy = builder.directory().file("policy.toml", body, 0o644);
            command.arg("--policy").arg(policy).arg("--socket").arg(&path);
            command.stderr(std::process::Stdio::null());
            (command.spawn().unwrap(), builder)
        })
        .collect();
    let mut starting = starting;
    fdbroker_tests::wait_until("nine have given up", || {
        let ended = starting.iter_mut().filter_map(|(child, _)| child.try_wait().unwrap());
        ended.count() == 9
    });
    Peer::connect(&path).unwrap().is_served((1, 0));
    for (child, _) in &mut starting {
        if child.try_wait().unwrap().is_none() {
            fdbroker_tests::process::signal(child.id(), Signal::TERM);
            assert!(child.wait().unwrap().success());
        }
    }
}

#[test]
fn a_file_in_the_place_of_the_socket_is_left_alone() {
    let directory = Directory::new();
    let path = directory.private_file("socket", "precious");
    let (status, said) = Daemon::open().socket(path.clone()).fail();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_in_a_directory_that_is_missing_is_an_error_that_says_so() {
    let directory = Directory::new();
    let (status, said) = Daemon::open().socket(directory.join("none/socket")).fail();
    assert_eq!(status, 1, "{said}");
    let cure = format!("create the directory {}", directory.join("none").display());
    assert!(said.contains(&cure), "{said}");
}

#[test]
fn everybody_may_connect_to_roots_broker_and_only_its_own_user_to_any_other() {
    let daemon = Daemon::open().start();
    let metadata = fs::metadata(daemon.socket()).unwrap();
    assert!(metadata.file_type().is_socket());
    let expected = if is_root() { 0o666 } else { 0o600 };
    assert_eq!(metadata.permissions().mode() & 0o777, expected);
    assert_eq!(metadata.uid(), fdbroker_tests::Ids::own().uid);
    if is_root() {
        let other = Daemon::open().run_as(fdbroker_tests::Ids::plain(64010)).start();
        assert_eq!(fs::metadata(other.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_socket_passed_in_is_used_and_not_removed() {
    let directory = Directory::new();
    let path = directory.join("passed");
    let listener = UnixListener::bind(&path).unwrap();
    let mut daemon = Daemon::open().listening(listener).start();
    Peer::connect(&path).unwrap().is_served((1, 0));
    assert!(!daemon.socket().exists(), "another socket was made beside it");
    daemon.kill_worker();
    Peer::connect(&path).unwrap().is_served((1, 0));
    assert_eq!(daemon.end(Signal::TERM).code(), Some(0));
    assert!(path.exists(), "a socket passed in is not the broker's to remove");
}

#[test]
fn a_socket_passed_in_that_sends_pidfds_and_labels_is_rid_of_them() {
    use fdbroker_tests::sys::{flag, set_flag};
    let directory = Directory::new();
    let path = directory.join("passed");
    let listener = UnixListener::bind(&path).unwrap();
    let surplus: Vec<i32> = [libc::SO_PASSPIDFD, libc::SO_PASSSEC]
        .into_iter()
        .filter(|option| set_flag(&listener, *option).is_ok())
        .collect();
    if surplus.is_empty() {
        return skip("SO_PASSPIDFD and SO_PASSSEC", "this kernel has neither");
    }
    // A connection that is made before the daemon starts has it from the listener as it was.
    set_flag(&listener, libc::SO_PASSCRED).unwrap();
    let mut early = Peer::connect(&path).unwrap();
    let kept = listener.try_clone().unwrap();
    let daemon = Daemon::open().listening(listener).start();
    for option in surplus {
        assert!(!flag(&kept, option).unwrap(), "option {option} is still on");
    }
    let mut peer = Peer::connect(&path).unwrap();
    early.del((1, 0));
    let before = daemon.descriptors_with(&mut peer);
    for _ in 0..100 {
        early.add((1, 0), "x").done();
        peer.add((1, 0), "x").done();
    }
    daemon.wait_for_descriptors(before);
}

#[test]
fn what_is_passed_in_and_is_no_listening_socket_is_refused() {
    let (status, said) = Daemon::open().listening(tempfile::tempfile().unwrap()).fail();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("LISTEN_FDS"), "{said}");
}

#[test]
fn it_tells_the_service_manager_when_it_is_ready() {
    let directory = Directory::new();
    let path = directory.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let daemon = Daemon::open().environment("NOTIFY_SOCKET", &path).start();
    let mut message = [0; 4096];
    fdbroker_tests::wait_until("READY=1 has come", || {
        let length = socket.recv(&mut message).unwrap();
        let text = String::from_utf8_lossy(&message[..length]);
        text.lines().any(|line| line == "READY=1")
    });
    daemon.connect().is_served((1, 0));
}

#[test]
fn an_invalid_policy_is_refused_with_every_finding() {
    let policy = "[tags.one]\nid = 1\nserail = true\n[[rules]]\nid = \"x\"\nallow = [\"fly\"]\nslots = [\"two/*\"]\nanyone = true\n";
    let (status, said) = Daemon::with_policy(policy).fail();
    assert_eq!(status, 78, "{said}");
    for found in ["serail", "serial", "fly", "two/*", "policy.toml:"] {
        assert!(said.contains(found), "no {found:?} in: {said}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_an_error_in_the_journal() {
    let builder = Daemon::with_policy("[[rules]]\nid = \"x\"\n");
    // systemd tells by device and inode that standard error leads to the journal.
    let log = builder.directory().file("log", "", 0o600);
    let found = fs::metadata(log).unwrap();
    let builder = builder.environment("JOURNAL_STREAM", format!("{}:{}", found.dev(), found.ino()));
    let (status, said) = builder.fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.starts_with("<3>fdbrokerd: "), "{said}");
    assert!(said.lines().all(|line| line.starts_with("<3>")), "{said}");
}

#[test]
fn a_policy_that_others_could_write_is_refused() {
    let directory = Directory::new();
    let body = format!("version = 1\n[broker]\nuser = 64001\n{}", fixtures::OPEN);
    let open = directory.file("open.toml", &body, 0o666);
    let (status, said) = with_policy_file(&open);
    assert_eq!(status, 78, "{said}");
    assert!(said.contains(open.to_str().unwrap()), "{said}");

    let inner = directory.join("inner");
    fs::create_dir(&inner).unwrap();
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o777)).unwrap();
    let below = inner.join("policy.toml");
    fs::write(&below, &body).unwrap();
    let (status, said) = with_policy_file(&below);
    assert_eq!(status, 78, "{said}");
    assert!(said.contains(inner.to_str().unwrap()), "{said}");
}

#[test]
fn a_policy_that_belongs_to_somebody_else_is_refused() {
    if !needs_root("a policy of somebody else") {
        return;
    }
    let directory = Directory::new();
    let body = format!("version = 1\n[broker]\nuser = 64001\n{}", fixtures::OPEN);
    let path = directory.file("policy.toml", &body, 0o644);
    std::os::unix::fs::chown(&path, Some(64102), None).unwrap();
    let (status, said) = with_policy_file(&path);
    assert_eq!(status, 78, "{said}");
}

/// Starts the daemon with a policy file as it is.
fn with_policy_file(path: &std::path::Path) -> (i32, String) {
    Daemon::with_policy_file(path).fail()
}

#[test]
fn a_policy_file_that_is_named_and_not_there_is_refused() {
    let (status, said) = with_policy_file(std::path::Path::new("/nonexistent/policy.toml"));
    assert_ne!(status, 0);
    assert!(said.contains("/nonexistent/policy.toml"), "{said}");
    assert!(said.contains("name a file that exists"), "no cure: {said}");
}

#[test]
fn a_worker_user_that_does_not_exist_is_refused_by_name() {
    if !needs_root("the worker's account") {
        return;
    }
    let builder = Daemon::open().setting("user = \"no-such-account\"");
    let (status, said) = builder.fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("no-such-account"), "{said}");
}

#[test]
fn root_does_not_start_with_the_built_in_policy_without_the_account_for_the_worker() {
    if !needs_root("root and the built-in policy") {
        return;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    if accounts.lines().any(|line| line.starts_with("fdbroker:")) {
        return skip("root without the account fdbroker", "this machine has it");
    }
    let Some(builder) = Daemon::built_in("root and the built-in policy") else { return };
    let (status, said) = builder.run_as(fdbroker_tests::Ids::own()).fail();
    assert_eq!(status, 78, "{said}");
    assert!(said.contains("fdbroker"), "{said}");
    assert!(said.contains("useradd") && said.contains("[broker]"), "no cure: {said}");
}

#[test]
fn the_worker_is_never_root() {
    if !needs_root("a policy that names root as the worker's user") {
        return;
    }
    for user in ["user = 0", "user = \"root\""] {
        let (status, said) = Daemon::open().setting(user).fail();
        assert_eq!(status, 78, "{said}");
    }
}

#[test]
fn an_unknown_flag_is_a_usage_error() {
    let output = Command::new(&binaries().daemon).arg("--frobnicate").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--frobnicate"));
    let help = Command::new(&binaries().daemon).arg("--help").output().unwrap();
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("Examples"));
}

/// To watch an epoll instance by another one takes a lock of the kernel's that any user can hold.
#[test]
fn no_epoll_instance_of_the_broker_is_watched_by_another() {
    let daemon = Daemon::open().start();
    daemon.connect().is_served((1, 0));
    for pid in [daemon.supervisor_pid(), daemon.worker_pid()] {
        let Some(open) = process::descriptors(pid) else {
            return skip("what the broker's epoll instances watch", "/proc does not show it");
        };
        let epolls: Vec<u32> =
            open.iter().filter(|it| it.1.contains("eventpoll")).map(|it| *it.0).collect();
        assert!(!epolls.is_empty());
        for epoll in &epolls {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{epoll}")).unwrap();
            let watched = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
            let watched = watched.filter_map(|it| it.split_whitespace().next()?.parse().ok());
            let nested: Vec<u32> = watched.filter(|it| epolls.contains(it)).collect();
            assert!(nested.is_empty(), "{epoll} of {pid} watches {nested:?}");
        }
    }
}
