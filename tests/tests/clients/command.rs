//! The command, from its arguments to its exit status, against a real daemon.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use fdbroker_tests::binaries::binaries;
use fdbroker_tests::{Daemon, HelperProcess, Ids, fixtures, is_root, sys};

const POLICY: &str = r#"
[tags.store]
id = 1

[resources.null]
slot = "store/900"
device = "/dev/null"

[[rules]]
id = "everyone"
allow = ["*"]
slots = ["store/*"]
anyone = true

[[rules]]
id = "not this one"
deny = ["get"]
slots = ["store/13"]
anyone = true
"#;

fn daemon() -> Daemon {
    Daemon::with_policy(POLICY).start()
}

/// The command, pointed at a daemon and its policy.
fn command(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(&binaries().command);
    command.env("FDBROKER_SOCKET", daemon.socket());
    command.env("FDBROKER_POLICY", daemon.directory().join("policy.toml"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(daemon: &Daemon, arguments: &[&str]) -> Output {
    command(daemon, arguments).output().unwrap()
}

/// Standard output of what must have succeeded.
#[track_caller]
fn says(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = run(daemon, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of what must have failed, with this status.
#[track_caller]
fn fails(daemon: &Daemon, status: i32, arguments: &[&str]) -> String {
    let output = run(daemon, arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.trim().is_empty(), "{arguments:?} fails without a word");
    said
}

fn json(daemon: &Daemon, slot: &str) -> serde_json::Value {
    serde_json::from_str(&says(daemon, &["get", "--json", slot])).unwrap()
}

#[test]
fn a_payload_is_added_got_counted_and_deleted() {
    let daemon = daemon();
    let file = daemon.directory().private_file("payload", "the payload");
    says(&daemon, &["add", "1/5", "--payload", file.to_str().unwrap()]);
    assert_eq!(says(&daemon, &["get", "1/5"]), "the payload");
    assert_eq!(says(&daemon, &["get", "store/5"]), "the payload");
    let tag = says(&daemon, &["tag", "store"]);
    assert!(tag.contains("11"), "eleven bytes: {tag}");
    says(&daemon, &["del", "store/5"]);
    fails(&daemon, 4, &["get", "1/5"]);
    fails(&daemon, 4, &["del", "1/5"]);
}

#[test]
fn a_payload_comes_from_standard_input_with_every_byte() {
    let daemon = daemon();
    let bytes: Vec<u8> = (0..=255).cycle().take(32768).collect();
    let mut adds = command(&daemon, &["add", "1/5", "--payload", "-"]);
    let mut child = adds.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(run(&daemon, &["get", "1/5"]).stdout, bytes);
}

#[test]
fn a_payload_that_is_too_large_is_refused_before_anything_is_sent() {
    let daemon = daemon();
    let file = daemon.directory().private_file("payload", vec![0; 32769]);
    let output = run(&daemon, &["add", "1/5", "--payload", file.to_str().unwrap()]);
    assert!(!output.status.success());
    fails(&daemon, 4, &["get", "1/5"]);
}

#[test]
fn a_file_is_opened_deposited_and_described() {
    let daemon = daemon();
    let file = daemon.directory().private_file("file", "content");
    says(&daemon, &["add", "1/5", "--open", file.to_str().unwrap()]);
    let found = json(&daemon, "1/5");
    assert_eq!(found["descriptor"]["kind"], "file");
    assert_eq!(found["descriptor"]["target"], file.to_str().unwrap());
    assert_eq!(found["descriptor"]["access"], "read");
    assert_eq!(says(&daemon, &["exec", "1/5", "--", "sh", "-c", "cat <&3"]), "content");
}

#[test]
fn an_inherited_descriptor_is_deposited_by_its_number() {
    let daemon = daemon();
    let mut adds = command(&daemon, &["add", "1/5", "--fd", "3"]);
    sys::pass_descriptors(&mut adds, vec![fixtures::file_saying("inherited")]);
    assert!(adds.status().unwrap().success());
    drop(adds);
    assert_eq!(json(&daemon, "1/5")["ufd"], 3);
    assert_eq!(says(&daemon, &["exec", "1/5", "--", "sh", "-c", "cat <&3"]), "inherited");
    let said = fails(&daemon, 8, &["add", "1/5", "--fd", "77"]);
    assert!(said.contains("77"), "{said}");
}

#[test]
fn a_resource_is_got_by_its_name() {
    let daemon = daemon();
    let found = json(&daemon, "null");
    assert_eq!(found["descriptor"]["kind"], "char-device");
    assert_eq!(found["descriptor"]["target"], "/dev/null");
    assert_eq!(found["slot"], "1/900");
    fails(&daemon, 3, &["add", "null", "--payload", "/dev/null"]);
}

#[test]
fn exec_activates_a_service_that_knows_nothing_of_brokers() {
    let daemon = daemon();
    let program = daemon.directory().join("activated");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/c/activated.c");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(compiler).arg("-o").arg(&program).arg(source).status().unwrap();
    assert!(compiled.success());
    says(&daemon, &["add", "store/1", "--listen", "tcp:127.0.0.1:0"]);
    let found = json(&daemon, "store/1");
    assert_eq!(found["descriptor"]["kind"], "tcp-listener");
    let address = found["descriptor"]["local"].as_str().unwrap().to_owned();

    let mut exec = command(&daemon, &["exec", "store/1=http", "--"]);
    let mut service = exec.arg(&program).spawn().unwrap();
    let mut client = TcpStream::connect(&address).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "activated as http\n");
    assert!(service.wait().unwrap().success());
    // The socket is still in its slot for the next start of the service.
    let mut service = exec.spawn().unwrap();
    TcpStream::connect(&address).unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "activated as http\nactivated as http\n");
    assert!(service.wait().unwrap().success());
}

#[test]
fn exec_notes_a_unix_socket_that_nobody_can_reach() {
    let accept = "[tags.store]\naccept = [\"unix-listener\"]";
    let daemon = Daemon::with_policy(&POLICY.replace("[tags.store]", accept)).start();
    let path = daemon.directory().join("parked");
    says(&daemon, &["add", "store/1", "--listen", &format!("unix:{}", path.display())]);
    let noted = |slot: &str| {
        let output = run(&daemon, &["exec", slot, "--", "true"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(noted("store/1"), "");
    std::fs::remove_file(&path).unwrap();
    let note = noted("store/1");
    assert!(note.contains("exec: note: 1/1: no socket is at") && note.contains("parked"), "{note}");
    let shut = UnixListener::bind(&path).unwrap();
    rustix::net::shutdown(&shut, rustix::net::Shutdown::Read).unwrap();
    daemon.connect().add_descriptor((1, 2), &shut, "").done();
    assert!(noted("store/2").contains("exec: note: 1/2: the socket was shut down"));
}

#[test]
fn exec_hands_over_several_descriptors_in_their_order_and_nothing_else() {
    let daemon = daemon();
    let mut peer = daemon.connect();
    peer.add_descriptor((1, 1), fixtures::file_saying("one"), "").done();
    peer.add_descriptor((1, 2), fixtures::file_saying("two"), "").done();
    let script = "cat <&4; cat <&3; echo \" $LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID - $$))\"; \
                  ls /proc/$$/fd";
    let out = says(&daemon, &["exec", "1/1=a", "store/2", "--", "sh", "-c", script]);
    let (first, descriptors) = out.split_once('\n').unwrap();
    assert_eq!(first, "twoone 2 a:store.2 0");
    let beyond: Vec<u32> =
        descriptors.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    assert!(beyond.contains(&3) && beyond.contains(&4), "{descriptors}");
    assert!(!beyond.contains(&5) && !beyond.contains(&6), "{descriptors}");
}

#[test]
fn exec_ends_as_its_program_does() {
    let daemon = daemon();
    assert_eq!(
        run(&daemon, &["exec", "null", "--", "sh", "-c", "exit 42"]).status.code(),
        Some(42)
    );
    fails(&daemon, 127, &["exec", "null", "--", "/nonexistent/program"]);
    fails(&daemon, 126, &["exec", "null", "--", "/etc/passwd"]);
    fails(&daemon, 4, &["exec", "store/77", "--", "true"]);
}

#[test]
fn each_failure_has_its_own_exit_status_and_a_sentence() {
    let daemon = daemon();
    let said = fails(&daemon, 3, &["get", "store/13"]);
    assert!(said.contains("1/13"), "{said}");
    fails(&daemon, 4, &["get", "store/1"]);
    fails(&daemon, 3, &["get", "40/0"]);
    let said = fails(&daemon, 2, &["get", "no-such-name"]);
    assert!(said.contains("no-such-name"), "{said}");
    fails(&daemon, 2, &["get"]);
    fails(&daemon, 2, &["fetch", "1/0"]);
    fails(&daemon, 2, &["add", "1/0"]);
    fails(&daemon, 8, &["add", "1/0", "--open", "/nonexistent"]);
    let said = fails(&daemon, 6, &["--socket", "/nonexistent/socket", "get", "1/0"]);
    assert!(said.contains("/nonexistent/socket"), "{said}");
}

#[test]
fn a_quota_has_an_exit_status_of_its_own() {
    let daemon = Daemon::open().setting("max_slots_per_uid = 1").start();
    says(&daemon, &["add", "1/0", "--payload", "/dev/null"]);
    fails(&daemon, 5, &["add", "1/1", "--payload", "/dev/null"]);
}

#[test]
fn help_has_examples_for_every_subcommand() {
    let daemon = daemon();
    for subcommand in ["get", "add", "del", "tag", "exec", "check"] {
        let help = says(&daemon, &[subcommand, "--help"]);
        assert!(help.contains(&format!("fdbroker {subcommand}")), "{help}");
    }
}

#[test]
fn check_tells_findings_by_place_and_exits_with_1() {
    let daemon = daemon();
    let path = daemon.directory().join("policy.toml");
    says(&daemon, &["check", path.to_str().unwrap()]);
    let bad = "version = 1\n[tags.a]\nid = 1\n[[rules]]\nid = \"x\"\nalow = [\"get\"]\nslots = [\"b/*\"]\nanyone = true\n";
    let bad = daemon.directory().file("bad.toml", bad, 0o644);
    let said = fails(&daemon, 1, &["check", bad.to_str().unwrap()]);
    assert!(said.contains("bad.toml:6:1"), "{said}");
    assert!(said.contains("allow") && said.contains("b/*") && said.contains('^'), "{said}");
    fails(&daemon, 1, &["check", path.to_str().unwrap(), bad.to_str().unwrap()]);
    assert_ne!(run(&daemon, &["check", "/nonexistent.toml"]).status.code(), Some(0));
}

#[test]
fn a_broker_of_another_user_is_not_trusted_unless_told() {
    if !fdbroker_tests::needs_root("a broker of another user") {
        return;
    }
    let daemon = Daemon::with_policy(POLICY).run_as(Ids::plain(64010)).start();
    assert!(is_root());
    let said = fails(&daemon, 6, &["get", "1/0"]);
    assert!(said.contains("64010"), "{said}");
    fails(&daemon, 4, &["--trust-uid", "64010", "get", "1/0"]);
    fails(&daemon, 4, &["--trust-anyone", "get", "1/0"]);
    fails(&daemon, 6, &["--trust-uid", "64011", "get", "1/0"]);
}

#[test]
fn a_request_on_a_serial_tag_waits_and_with_a_timeout_not_for_ever() {
    let policy = POLICY.replace("id = 1\n", "id = 1\nserial = true\n");
    let daemon = Daemon::with_policy(&policy).start();
    let owner = HelperProcess::same();
    let mut peer = owner.connect(&daemon);
    peer.add((1, 1), "handed over").done();
    fails(&daemon, 7, &["--timeout", "300ms", "get", "1/1"]);
    let mut gets = command(&daemon, &["get", "1/1"]);
    let waiting = gets.stdout(Stdio::piped()).spawn().unwrap();
    owner.kill();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"handed over");
}
