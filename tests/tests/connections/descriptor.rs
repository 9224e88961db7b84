//! Libraries and programs that take a connected descriptor, which `fdbroker exec SLOT` passes on.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};

use fdbroker_tests::binaries::binaries;
use fdbroker_tests::{Daemon, PATIENCE, Redis, skip};

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
