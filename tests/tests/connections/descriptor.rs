//! Libraries and programs that take a connected descriptor, which `fdbroker exec SLOT` passes on.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};

use fdbroker_tests::binaries::binaries;
use fdbroker_tests::{Daemon, PATIENCE, Redis, Sshd, fixtures, skip};

use crate::exec::{Caller, PYTHON, has_python};
use crate::pages::example;
use crate::resource::{connecting, server, tcp};
use crate::{proxies, redis};

/// A program of `tests/c`, built with a library; `None`, said aloud, if that is not installed.
fn built(
    what: &str,
    name: &str,
    library: &str,
    directory: &fdbroker_tests::Directory,
) -> Option<PathBuf> {
    let program = directory.join(name);
    let source = format!("{}/c/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Wextra", "-Werror", &source, library, "-o"]).arg(&program);
    let output = compiler.output().ok();
    if output.is_none_or(|output| !output.status.success()) {
        skip(what, &format!("no C compiler, or no {library} with its headers"));
        return None;
    }
    Some(program)
}

#[test]
fn hiredis_runs_on_a_descriptor_of_the_broker() {
    let what = "hiredis runs on a descriptor of the broker";
    let Some(server) = Redis::start(what, &redis::ORDERS) else { return };
    let keys = "user = \"orders\"";
    let caller = Caller::of(redis::daemon(&tcp(server.port()), Some("hunter2-geheim"), keys));
    let directory = caller.daemon.directory();
    let Some(program) = built(what, "hiredis", "-lhiredis", directory) else { return };
    assert_eq!(caller.says(caller.exec("1/5", program, &[])), "orders");
}

#[test]
fn libcurl_runs_on_a_descriptor_of_the_broker() {
    let what = "libcurl runs on a descriptor of the broker";
    let web = proxies::web_server();
    let caller = Caller::of(Daemon::open().policy(&connecting(&tcp(web), "")).start());
    let directory = caller.daemon.directory();
    let Some(program) = built(what, "curl", "-lcurl", directory) else { return };
    // Nobody listens at the port of the URL.
    let said = caller.says(caller.exec("1/5", program, &["http://localhost:1/page"]));
    assert_eq!(said, "you asked: GET /page HTTP/1.1");
}

#[test]
fn ssh_speaks_over_a_descriptor_of_the_broker_as_its_page_says() {
    let what = "ssh speaks over a descriptor of the broker";
    let output = Command::new("ssh").args(["-G", "jump.invalid"]).output();
    if !output.is_ok_and(|output| output.status.success()) {
        return skip(what, "there is no ssh, or this user has no account, which ssh wants");
    }
    if !has_python(what, "socket") {
        return;
    }
    let (heard, hears) = mpsc::channel();
    let heard = Mutex::new(heard);
    let port = server(move |mut stream| {
        stream.write_all(b"SSH-2.0-test\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        heard.lock().unwrap_or_else(PoisonError::into_inner).send(line).unwrap();
    });
    let daemon = Daemon::open().policy(&connecting(&tcp(port), "")).start();
    let script = example("### OpenSSH", "python");
    let script = daemon.directory().file("pass.py", &script, 0o644);
    let proxy = format!(
        "ProxyCommand={} exec 1/5 -- {PYTHON} {}",
        binaries().command.display(),
        script.display()
    );
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "ProxyUseFdpass=yes", "-o", &proxy]);
    ssh.arg("nobody@jump.invalid").env("FDBROKER_SOCKET", daemon.socket());
    let output = ssh.output().unwrap();
    let line = hears.recv_timeout(PATIENCE);
    let line = line.unwrap_or_else(|_| panic!("{output:?}"));
    assert!(line.starts_with("SSH-2.0-OpenSSH"), "{line}");
}

/// The lines of the page for `ssh_config`, with the program of this checkout and a script at this path.
fn ssh_config(script: &str) -> String {
    let lines = example("### OpenSSH", "text");
    let command = binaries().command.display().to_string();
    let lines = lines.replace(" fdbroker exec ", &format!(" {command} exec "));
    let lines = lines.replace(" python3 ", &format!(" {PYTHON} "));
    lines.replace("/usr/local/lib/pass-descriptor.py", script).trim_end().to_owned()
}

#[test]
fn ssh_runs_commands_on_a_real_server_as_its_page_says() {
    let what = "ssh runs commands on a real server over a descriptor of the broker";
    let Some(server) = Sshd::start(what) else { return };
    if !has_python(what, "socket") {
        return;
    }
    let policy = format!(
        "{}\n[resources.jump]\nslot = \"open/5\"\nconnect = {}\n",
        fixtures::OPEN,
        tcp(server.port())
    );
    let daemon = Daemon::open().policy(&policy).start();
    let script = daemon.directory().file("pass.py", example("### OpenSSH", "python"), 0o644);
    let lines = ssh_config(script.to_str().unwrap());
    let ssh = |command: &str| {
        let mut ssh = server.client("jump", &lines);
        ssh.args(["jump", command]).env("FDBROKER_SOCKET", daemon.socket());
        ssh
    };
    let output = ssh("id -un && exit 7").output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), server.user());
    // More than any buffer between, in both directions.
    let sent = vec![b'x'; 1 << 22];
    let mut cat = ssh("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || to.write_all(&sent).unwrap());
        from.read_to_end(&mut received).unwrap();
    });
    assert!(cat.wait().unwrap().success());
    assert!(received.len() == 1 << 22 && received.iter().all(|byte| *byte == b'x'));
}

#[test]
fn ssh_is_told_why_the_broker_refuses_it() {
    let what = "ssh is told why the broker refuses it";
    let Some(server) = Sshd::start(what) else { return };
    let daemon = Daemon::with_policy("[tags.open]\nid = 1\n").start();
    let lines = ssh_config("/nonexistent").replace(" jump -- ", " 1/5 -- ");
    let mut ssh = server.client("jump", &lines);
    let output = ssh.args(["jump", "id"]).env("FDBROKER_SOCKET", daemon.socket()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("refused it") && said.contains("get 1/5"), "{said}");
}
