//! What holds for the relays of all protocols: whom they serve, how many, and what a relay that is killed leaves.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use fdbroker_tests::{needs_root, process, wait_until};
use rustix::process::Signal;

use super::caller::{PYTHON, has_python};
use super::redis::Setup;

/// Whose directories are not the caller's.
const OTHER: u32 = 64033;

/// A relay whose program stays until its standard input ends.
struct Staying(Child);

impl Staying {
    fn start(setup: &Setup) -> Self {
        let mut command = setup.exec("cat", &[]);
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        wait_until("the program runs", || {
            let children = format!("/proc/{0}/task/{0}/children", child.id());
            fs::read_to_string(children).is_ok_and(|found| !found.trim().is_empty())
        });
        Self(child)
    }

    #[track_caller]
    fn ends(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }

    fn kill(mut self) {
        process::signal(self.0.id(), Signal::KILL);
        self.0.wait().unwrap();
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sockets(setup: &Setup) -> Vec<PathBuf> {
    setup.caller.directories().into_iter().map(|path| path.join("redis.sock")).collect()
}

#[test]
fn a_connection_of_another_user_is_closed() {
    let what = "a connection of another user is closed";
    // Nobody else passes the directory.
    if !needs_root(what) {
        return;
    }
    let Some(setup) = Setup::new(what) else { return };
    let staying = Staying::start(&setup);
    let mut there = UnixStream::connect(&sockets(&setup)[0]).unwrap();
    // It may have been closed already.
    let _ = there.write_all(b"PING\r\n");
    let mut said = Vec::new();
    let _ = there.read_to_end(&mut said);
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    staying.ends();
}

#[test]
fn a_connection_beyond_four_hundred_waits_for_another_to_end() {
    let what = "a connection beyond 400 waits for another to end";
    let Some(setup) = Setup::new(what) else { return };
    if !has_python(what, "socket") {
        return;
    }
    let script = "import os, socket\n\
        def connect():\n    \
            there = socket.socket(socket.AF_UNIX)\n    \
            there.connect(os.environ['REDIS_SOCKET'])\n    \
            return there\n\
        served = [connect() for _ in range(400)]\n\
        waiting = connect()\n\
        waiting.sendall(b'PING\\r\\n')\n\
        served[-1].sendall(b'PING\\r\\n')\n\
        assert served[-1].recv(100) == b'+PONG\\r\\n'\n\
        try: print('served:', waiting.recv(100, socket.MSG_DONTWAIT))\n\
        except BlockingIOError: print('waits')\n\
        served.pop(0).close()\n\
        print(waiting.recv(100))";
    assert_eq!(setup.says(PYTHON, &["-c", script]), "waits\nb'+PONG\\r\\n'");
}

#[test]
fn the_next_relay_removes_what_a_killed_one_has_left() {
    let what = "the next relay removes what a killed one has left";
    let Some(setup) = Setup::new(what) else { return };
    let living = Staying::start(&setup);
    let own = sockets(&setup);
    let killed = Staying::start(&setup);
    assert_eq!(sockets(&setup).len(), 2);
    killed.kill();
    assert_eq!(sockets(&setup).len(), 2, "nobody could remove it yet");
    setup.says("true", &[]);
    assert_eq!(sockets(&setup), own, "one that lives is left alone");
    living.ends();
    assert!(setup.caller.directories().is_empty());
}

#[test]
fn no_socket_is_made_where_another_user_could_exchange_it() {
    let what = "no socket is made where another user could exchange it";
    if !needs_root(what) {
        return;
    }
    let Some(setup) = Setup::new(what) else { return };
    let theirs = setup.caller.daemon.directory().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
    chown(&theirs, Some(OTHER), None).unwrap();
    let script = "echo \"$REDIS_SOCKET\"; ls \"$0\"";
    for variables in [["XDG_RUNTIME_DIR", "TMPDIR"], ["TMPDIR", "XDG_RUNTIME_DIR"]] {
        let mut command = setup.exec("sh", &["-c", script, theirs.to_str().unwrap()]);
        command.env(variables[0], &theirs).env(variables[1], &setup.caller.runtime);
        let said = setup.caller.says(command);
        assert!(said.lines().count() == 1, "{said}");
        assert!(said.starts_with(setup.caller.runtime.to_str().unwrap()), "{said}");
    }
}

#[test]
fn a_relay_runs_where_a_directory_inherits_its_group() {
    let Some(setup) = Setup::new("a relay runs where a directory inherits its group") else {
        return;
    };
    fs::set_permissions(&setup.caller.runtime, fs::Permissions::from_mode(0o3777)).unwrap();
    let said = setup.says("sh", &["-c", "stat -c %a \"${REDIS_SOCKET%/*}\""]);
    assert_eq!(said, "2700");
    assert!(setup.caller.directories().is_empty());
}

#[test]
fn a_program_that_does_not_connect_keeps_no_session() {
    let what = "a program that does not connect keeps no session";
    let Some(setup) = Setup::new(what) else { return };
    let staying = Staying::start(&setup);
    assert!(setup.sessions() <= 1);
    wait_until("the first session has ended", || setup.sessions() == 0);
    staying.ends();
}
