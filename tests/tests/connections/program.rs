//! Log-ins that a program of the operator's does: the one of the page, to a real server, and programs that go wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fdbroker_tests::authority::VALID;
use fdbroker_tests::{
    Authority, Builder, Daemon, HelperProcess, Redis, WORKER, is_root, process, skip,
};
use fdbroker_wire::Connection;
use fdbroker_wire::connection::RELAY;

use crate::pages::example_of;
use crate::redis::ORDERS;
use crate::resource::{SLOT, There, connecting, connection, failure, in_time, server, tcp};
use crate::tls::{HERE, tls};

/// Who has no right on any credential.
const CALLER: u32 = 64037;

/// A server that waits for its clients to end.
fn waiting() -> u16 {
    server(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())))
}

/// The keys of a program, with a password or without.
fn program(builder: &Builder, script: &str, password: Option<&str>) -> String {
    let script = builder.directory().script("log-in", script);
    let password = password.map(|password| {
        let path = builder.directory().private_file("password", password);
        format!(", password = \"file:{}\"", path.display())
    });
    let command = format!("command = [\"{}\", \"one\"]", script.display());
    let keys = format!("{command}, user = \"orders\"{}", password.unwrap_or_default());
    format!("auth.program = {{ {keys} }}")
}

/// A daemon for which a script logs in to a server that says nothing.
fn alone(script: &str, password: Option<&str>, open_timeout: &str) -> Daemon {
    let builder = Daemon::open();
    let lines = program(&builder, script, password);
    builder.policy(&in_time(&tcp(waiting()), &lines, open_timeout)).start()
}

/// What the log says of a script that does not log in, and what its caller is answered.
fn refused(script: &str, password: Option<&str>) -> String {
    let daemon = alone(script, password, "30s");
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    failure(&daemon)
}

/// The processes of this machine that were started with an argument.
fn with_argument(argument: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap();
    let lines = entries.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let has = |line: &Vec<u8>| line.split(|byte| *byte == 0).any(|it| it == argument.as_bytes());
    lines.filter(has).count()
}

#[test]
fn the_program_of_the_page_logs_in_to_redis() {
    let Some(server) = Redis::start("the program of the page logs in to Redis", &ORDERS) else {
        return;
    };
    let builder = Daemon::open();
    let lines = program(&builder, &page(), Some("hunter2-geheim\n"));
    let daemon = builder.policy(&connecting(&tcp(server.port()), &lines)).start();
    let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
    let (socket, payload) = connection(caller.connect(&daemon).get(SLOT), &daemon);
    let session = Connection::parse(&payload).unwrap();
    assert_eq!((session.protocol(), session.text(RELAY)), ("program", Some("direct")));
    assert_eq!(session.text("user"), Some("orders"));
    assert_eq!(session.text("output"), Some("logged in by a shell"));
    let whoami = Redis::ask(There(caller.keep(socket)), session.early(), "ACL WHOAMI").unwrap();
    assert_eq!(whoami, "orders");
    assert!(!daemon.log().text().contains("geheim"));
}

/// The script of docs/policy.md.
fn page() -> String {
    example_of("policy.md", "#### Programs that log in", "sh")
}

#[test]
fn a_program_is_told_why_a_server_refuses_and_the_log_is_not() {
    let what = "a program that a server refuses";
    let Some(server) = Redis::start(what, &ORDERS) else { return };
    let builder = Daemon::open();
    let lines = program(&builder, &page(), Some("wrong-geheim"));
    let daemon = builder.policy(&connecting(&tcp(server.port()), &lines)).start();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    let expected = "log-in failed after ";
    assert!(
        said.contains(expected) && said.contains("the program ended with status 1 ("),
        "{said}"
    );
    assert!(!said.contains("WRONGPASS") && !said.contains("geheim"), "{said}");
}

#[test]
fn a_program_logs_in_over_tls_by_a_relay() {
    let what = "a program logs in over TLS";
    let Some(authority) = Authority::new(what) else { return };
    let signed = authority.sign("server", HERE, VALID);
    let ca = authority.certificate();
    let Some(server) = Redis::start_encrypted(what, &ORDERS, &signed, &ca) else { return };
    let client = authority.sign("orders", "", VALID);
    let certificate = format!(
        ", client_certificate = \"{}\", client_key = \"file:{}\"",
        client.certificate.display(),
        client.key.display()
    );
    let builder = Daemon::open();
    let lines = program(&builder, &page(), Some("hunter2-geheim"));
    let lines = format!("{lines}\n{}", tls(&ca, &certificate));
    let daemon = builder.policy(&connecting(&tcp(server.port()), &lines)).start();
    let (stream, payload) = connection(daemon.connect().get(SLOT), &daemon);
    let session = Connection::parse(&payload).unwrap();
    assert_eq!(session.text(RELAY), Some("relayed"));
    assert_eq!(Redis::ask(stream, session.early(), "ACL WHOAMI").unwrap(), "orders");
}

#[test]
fn the_words_of_a_program_are_shown_while_it_knows_no_password() {
    let script = "#!/bin/sh\nprintf 'no\\033[2J\\nmore\\n' >&2\nexit 3\n";
    let said = refused(script, None);
    assert!(said.contains(r#"the program ended with status 3, and says "no\u{1b}[2J";"#), "{said}");
    let said = refused("#!/bin/sh\ncat <&4 >&2\nkill -9 $$\n", Some("hunter2-geheim"));
    assert!(said.contains("was ended by signal 9 (its message is not shown"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_program_that_hangs_is_ended_in_time_with_all_that_it_has_started() {
    let hangs = "#!/bin/sh\nsleep 1047.01 &\nsleep 1047.01\n";
    let daemon = alone(hangs, Some("hunter2"), "2s");
    let began = std::time::Instant::now();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::ETIMEDOUT);
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    let said = failure(&daemon);
    assert!(said.contains("log-in timed out after ") && said.contains("has not ended"), "{said}");
    assert_eq!(with_argument("1047.01"), 0, "a process is left");
}

#[test]
fn nothing_that_a_program_has_started_keeps_the_connection() {
    // setsid would take a process out of the group.
    let keeps = "#!/bin/sh\nsleep 1047.02 &\nsetsid sleep 1047.02 2>/dev/null &\n\
                 setsid -w true 2>/dev/null && printf left\nexit 0\n";
    let daemon = alone(keeps, None, "30s");
    let (_stream, payload) = connection(daemon.connect().get(SLOT), &daemon);
    assert_eq!(with_argument("1047.02"), 0, "a process is left");
    assert_eq!(Connection::parse(&payload).unwrap().text("output"), None, "it left its group");
}

#[test]
fn a_program_that_floods_is_read_and_what_it_says_is_cut() {
    let said = refused("#!/bin/sh\nyes many | head -c 50000000 >&2\nexit 4\n", None);
    assert!(said.contains(r#"ended with status 4, and says "many";"#), "{said}");
    let said = refused("#!/bin/sh\ntr '\\0' x </dev/zero >&2 &\nsleep 1\nexit 5\n", None);
    assert!(said.contains(&format!("says \"{}\";", "x".repeat(200))), "{said}");
    let said = refused("#!/bin/sh\nexec yes\n", None);
    assert!(said.contains("the program writes more than 16384 bytes for the payload"), "{said}");
}

#[test]
fn a_program_that_ends_the_connection_has_not_logged_in() {
    let what = "a program that ends the connection";
    if !Path::new(PYTHON).exists() {
        return skip(what, "there is no Python");
    }
    let shuts = format!("#!{PYTHON}\nimport socket\nsocket.socket(fileno=3).shutdown(2)\n");
    let daemon = alone(&shuts, None, "30s");
    // The caller sees the end, as of any connection; or the broker did.
    match daemon.connect().get(SLOT) {
        fdbroker_tests::Answer::Failed(errno, _) => assert_eq!(errno, libc::EIO),
        answer => {
            let (mut stream, _) = connection(answer, &daemon);
            assert_eq!(std::io::Read::read(&mut stream, &mut [0]).unwrap(), 0);
        }
    }
}

#[test]
fn a_program_that_cannot_be_started_is_told() {
    let said = refused("#!/nonexistent/interpreter\n", None);
    assert!(said.contains("cannot be started: No such file"), "{said}");
}

#[test]
fn a_program_that_others_can_change_is_not_started() {
    let builder = Daemon::open();
    let lines = program(&builder, "#!/bin/sh\nexit 0\n", None);
    let daemon = builder.policy(&connecting(&tcp(waiting()), &lines)).start();
    let path = daemon.directory().join("log-in");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    let expected = "the program is not started: ";
    let said = failure(&daemon);
    assert!(said.contains(expected) && said.contains("is writable by others"), "{said}");
    let said = daemon.run(&["check", daemon.policy_path().to_str().unwrap()]).err;
    assert!(said.contains(&format!("note: resource \"orders\": {expected}")), "{said}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    connection(daemon.connect().get(SLOT), &daemon);
    let said = daemon.run(&["check", daemon.policy_path().to_str().unwrap()]).err;
    assert!(!said.contains("orders"), "{said}");
}

const PYTHON: &str = "/usr/bin/python3";

/// What a program finds, and what it tries.
const ATTEMPTS: &str = r#"
import os, signal, socket, sys
fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:5]
print("descriptors", fds, "arguments", sys.argv[1:])
print("environment", sorted(os.environ.items()))
signals = [s for s in signal.valid_signals() if signal.getsignal(s) == signal.SIG_IGN]
# Python itself ignores two.
print("ignored", [s.name for s in signals if s not in (signal.SIGPIPE, signal.SIGXFSZ)])
for line in open("/proc/self/status"):
    if line.split(":")[0] in ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs"):
        print(*line.split())
print("password", os.read(4, 100) == b"hunter2", "blocks", os.get_blocking(3))
open("/dev/null", "w").close()
def tries(what, attempt):
    try:
        attempt()
        print(what, "allowed")
    except OSError as error:
        print(what, os.strerror(error.errno))
tries("setsid", os.setsid)
tries("write", lambda: open("/tmp/fdbroker-test-of-a-program", "w"))
tries("connect", lambda: socket.create_connection(("127.0.0.1", int(PORT)), 5))
tries("listen", lambda: socket.create_server(("127.0.0.1", 0)))
tries("raw", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tries("kill", lambda: os.kill(-1, 0))
tries("init", lambda: os.kill(1, 0))
os.set_blocking(3, False)
"#;

#[test]
fn a_program_has_no_privilege_and_reaches_nothing_but_its_server() {
    let what = "a program has no privilege";
    if !Path::new(PYTHON).exists() {
        return skip(what, "there is no Python");
    }
    let script = ATTEMPTS.replace("int(PORT)", &waiting().to_string());
    let daemon = alone(&format!("#!{PYTHON}\n{script}"), Some("hunter2"), "30s");
    let (stream, payload) = connection(daemon.connect().get(SLOT), &daemon);
    let said = Connection::parse(&payload).unwrap().text("output").unwrap().to_owned();
    for expected in [
        "descriptors [0, 1, 2, 3, 4] arguments ['one']",
        "ignored []",
        "NoNewPrivs: 1",
        "CapEff: 0000000000000000",
        "CapPrm: 0000000000000000",
        "password True blocks True",
        "setsid Operation not permitted",
        "raw Operation not permitted",
        "kill Operation not permitted",
        "init Operation not permitted",
        "write Permission denied",
        "connect Permission denied",
        "listen Permission denied",
    ] {
        assert!(said.contains(&format!("{expected}\n")), "{expected}: {said}");
    }
    let variables =
        "[('FDBROKER_PASSWORD_FD', '4'), ('FDBROKER_SOCKET_FD', '3'), ('FDBROKER_USER', 'orders')]";
    // Python may add one that says how it reads text.
    let environment = said.replace(", ('LC_CTYPE', 'C.UTF-8')", "");
    assert!(environment.contains(&format!("environment {variables}\n")), "{said}");
    let flags = rustix::fs::fcntl_getfl(&stream).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "it blocks again");
    assert_eq!(process::helpers(daemon.supervisor_pid()), [0; 0]);
    if is_root() {
        let ids = format!("Uid: {WORKER} {WORKER} {WORKER} {WORKER}\n");
        for expected in [&*ids, "CapBnd: 0000000000000000\n", "Groups:\n"] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }
}
