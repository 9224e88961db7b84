//! What a helper can do that a server has taken over: how the kernel sees one, and what a process tries that is
//! confined as one is.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::channel;

use fdbroker_tests::{Daemon, PATIENCE, WORKER, is_root, process, request, skip};

use crate::resource::{SLOT, server, tcp, with_password};

const ATTEMPTS: &str = "FDBROKER_TEST_PORTS";
/// The test that makes the attempts.
const ITSELF: &str = "confined::attempts_in_a_process_of_its_own";

#[test]
fn a_helper_has_no_privilege_and_nothing_of_its_supervisors() {
    let what = "a helper has no privilege";
    let (accepted, connected) = channel();
    let port = server(move |mut stream| {
        accepted.send(()).unwrap();
        drop(io::copy(&mut stream, &mut io::sink()));
    });
    let daemon = with_password(Daemon::open(), &tcp(port), "geheim", "").start();
    let mut peer = daemon.connect();
    peer.send(&request::get(SLOT), &[]);
    // The helper has read its credential and confined itself when it connects.
    connected.recv_timeout(PATIENCE).expect("a helper connects");
    let [helper] = process::helpers(daemon.supervisor_pid())[..] else { panic!("one helper") };
    let status = |field| process::status(helper, field);
    for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(field), "0000000000000000", "{field}");
    }
    assert_eq!((status("NoNewPrivs"), status("Seccomp")), ("1".to_owned(), "2".to_owned()));
    let limits = std::fs::read_to_string(format!("/proc/{helper}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
    assert_eq!(std::fs::read(format!("/proc/{helper}/environ")).unwrap_or_default(), b"");
    let private = process::memory(helper, "RssAnon");
    assert!(private <= 3 << 20, "{private} bytes of its own");
    if !is_root() {
        return skip(what, "only root's helper becomes another user");
    }
    let worker = format!("{WORKER}\t{WORKER}\t{WORKER}\t{WORKER}");
    assert_eq!(
        (status("Uid"), status("Gid"), status("Groups")),
        (worker.clone(), worker, String::new())
    );
    assert_eq!(status("CapBnd"), "0000000000000000");
    let open = process::descriptors(helper).unwrap();
    assert!(open.len() <= 4, "its link, /dev/null, the log and one socket: {open:?}");
    assert!(!open.values().any(|target| target.contains("memfd")), "{open:?}");
}

/// Does what this process was started for, if it was: confines itself, and tries.
#[test]
fn attempts_in_a_process_of_its_own() {
    let Ok(ports) = std::env::var(ATTEMPTS) else { return };
    let (allowed, other) = ports.split_once(' ').unwrap();
    let at = |port: &str| SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    fdbrokerd::sandbox::confine_helper(&[at(allowed).port()])
        .expect("the helper's filter compiles");
    TcpStream::connect(at(allowed)).expect("the server's port is allowed");
    File::open("/etc/hosts").expect("what names are looked up in may be read");
    let refused = |result: io::Result<()>| {
        let errno = result.expect_err("it was allowed").raw_os_error();
        assert!([Some(libc::EACCES), Some(libc::EPERM)].contains(&errno), "{errno:?}");
    };
    refused(File::open("/proc/self/status").map(drop));
    refused(File::open("/dev/zero").map(drop));
    refused(File::create("/tmp/fdbroker-test-of-a-helper").map(drop));
    refused(TcpStream::connect(at(other)).map(drop));
    refused(TcpListener::bind("127.0.0.1:0").map(drop));
    refused(Err(Command::new("/bin/true").exec()));
    refused(std::fs::remove_file("/etc/hosts"));
    refused(
        rustix::process::kill_process(rustix::process::Pid::INIT, rustix::process::Signal::CONT)
            .map_err(Into::into),
    );
    refused(
        rustix::net::socket(rustix::net::AddressFamily::PACKET, rustix::net::SocketType::RAW, None)
            .map(drop)
            .map_err(Into::into),
    );
    std::process::exit(42);
}

#[test]
fn a_helper_that_was_taken_over_reaches_its_server_and_nothing_else() {
    let [allowed, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", ITSELF, "--nocapture", "--test-threads=1"])
        .env(ATTEMPTS, format!("{} {}", port(&allowed), port(&other)))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(42), "{said}");
}
