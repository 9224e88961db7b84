//! What a broker of somebody else's, or the caller of a privileged program, tries on a client.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use fdbroker_tests::binaries::{binaries, copy_program};
use fdbroker_tests::daemon::TRIER;
use fdbroker_tests::{Daemon, Directory, Ids, fixtures, is_root, needs_root, process, skip, sys};

/// A command that runs another one in a user namespace in which nobody has a number; `None` if that
/// is not allowed.
fn in_unmapped_namespace(what: &str, command: &Command) -> Option<Command> {
    let mut unshare = Command::new("unshare");
    unshare.arg("--user").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        unshare.env(name, value?);
    }
    let possible = Command::new("unshare").args(["--user", "true"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip(what, "no user namespace can be made here");
        return None;
    }
    Some(unshare)
}

#[track_caller]
fn fails(command: &mut Command, status: i32) -> String {
    let Output { status: ended, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(ended.code(), Some(status), "{command:?}: {said}");
    said
}

#[test]
fn a_client_without_a_number_trusts_no_strangers_broker() {
    let builder = Daemon::with_policy(fixtures::OPEN);
    // Somebody else's where we can be somebody else, and our own where not: from in there, they look alike.
    let daemon = if is_root() { builder.run_as(Ids::plain(TRIER)) } else { builder }.start();
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    for trust in [&[][..], &["--trust-uid", "65534"]] {
        let asked = daemon.command(&[trust, &["add", "1/0", "--payload", "/dev/null"]].concat());
        let Some(mut command) = in_unmapped_namespace("a client without a number", &asked) else {
            return;
        };
        let said = fails(&mut command, 6);
        assert!(said.contains("no number in this user namespace"), "{said}");
        assert!(!said.contains("--trust-uid"), "{said}");
    }
    let nothing = daemon.run(&["--trust-anyone", "get", "1/0"]);
    assert_eq!(nothing.status, 4, "{nothing:?}");
}

#[test]
fn a_caller_does_not_choose_a_privileged_programs_broker() {
    let what = "the command with set-user-ID";
    if !needs_root(what) {
        return;
    }
    let daemon = Daemon::open().start();
    let directory = Directory::new();
    if !process::honours_set_user_id(directory.path()) {
        return skip(what, "nothing is set-user-ID here");
    }
    let program = directory.join("fdbroker");
    let run = |mode: u32, status| {
        let _ = fs::remove_file(&program);
        copy_program(&binaries().command, &program);
        std::os::unix::fs::chown(&program, Some(TRIER), Some(TRIER)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(&program);
        command.env("FDBROKER_SOCKET", daemon.socket()).args(["get", "1/0"]);
        sys::become_before(&mut command, Ids::plain(TRIER + 1));
        fails(&mut command, status)
    };
    run(0o755, 4);
    let said = run(0o4755, 6);
    assert!(said.contains("/run/fdbroker/fdbroker.sock"), "{said}");
}

#[test]
fn add_fd_needs_no_right_to_look_into_processes() {
    let what = "add --fd where pidfd_getfd(2) is forbidden, as in a container";
    // Says that nothing but our own call of it fails.
    let forbidden = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=pidfd_getfd:error=EPERM"];
    let mut strace = Command::new("strace");
    let possible = strace.args(forbidden).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        return skip(what, "there is no strace that may trace");
    }
    let daemon = Daemon::open().start();
    let mut command = Command::new("strace");
    command.args(forbidden).args(["sh", "-c", "exec \"$0\" add 1/0 --fd 7 7</dev/null"]);
    command.arg(&binaries().command).env("FDBROKER_SOCKET", daemon.socket());
    fails(&mut command, 0);
    assert!(daemon.says(&["get", "--json", "1/0"]).contains("/dev/null"));
}

#[test]
fn what_cannot_be_connected_to_is_told_by_what_it_is() {
    let directory = Directory::new();
    let file = directory.file("file", "", 0o666);
    let stale = directory.join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    for (socket, expected) in [
        (directory.path(), "that is a directory"),
        (&*file, "that is no socket"),
        (&*stale, "mount its directory instead"),
        (std::path::Path::new("@fdbroker"), "abstract socket names are not supported"),
    ] {
        let mut command = Command::new(&binaries().command);
        command.arg("--socket").arg(socket).args(["get", "1/0"]);
        let said = fails(&mut command, 6);
        assert!(said.contains(expected), "{said}");
    }
}
