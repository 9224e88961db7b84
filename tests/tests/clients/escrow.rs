//! Clients that are not ours: one in C for the older daemon, and one over a crate that knows
//! nothing of brokers. The broker has to serve them unchanged.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use fdbroker_tests::{Daemon, Directory, fixtures, request};
use sendfd::{RecvWithFd, SendWithFd};

/// Compiles the client; its directory has to outlive its use.
fn escrow_client() -> (Directory, PathBuf) {
    let directory = Directory::new();
    let program = directory.join("escrow_client");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/c/escrow_client.c");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(compiler)
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .args([program.as_os_str(), source.as_ref()])
        .status()
        .expect("there is a C compiler; name another with CC");
    assert!(status.success(), "the escrow client does not compile");
    (directory, program)
}

fn run_on(daemon: &Daemon, tag: i16) {
    let (_directory, program) = escrow_client();
    let run = Command::new(program).arg(daemon.socket()).arg(tag.to_string()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn an_escrow_client_in_c_is_served_with_every_size_with_and_without_a_descriptor() {
    let daemon = Daemon::open().start();
    let before = daemon.descriptors();
    run_on(&daemon, 1);
    daemon.wait_for_descriptors(before);
}

#[test]
fn an_escrow_client_in_c_is_served_by_a_serial_tag() {
    let daemon = Daemon::with_policy(&fixtures::serial());
    run_on(&daemon.start(), 1);
}

#[test]
fn an_escrow_client_in_c_is_served_without_a_policy_file() {
    let Some(builder) = Daemon::built_in("the built-in policy and a client in C") else { return };
    let daemon = builder.start();
    if !fdbroker_tests::is_root() {
        return run_on(&daemon, 31);
    }
    // As root the daemon runs as another user, who alone may connect.
    let (directory, program) = escrow_client();
    let mut command = Command::new(program);
    command.arg(daemon.socket()).arg("31");
    let user = fdbroker_tests::Ids::plain(fdbroker_tests::daemon::TRIER);
    fdbroker_tests::sys::become_before(&mut command, user);
    let run = command.output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    drop(directory);
}

#[test]
fn a_client_over_somebody_elses_crate_is_served() {
    let daemon = Daemon::open().start();
    let stream = UnixStream::connect(daemon.socket()).unwrap();
    let file = fixtures::file_saying("from a stranger");
    let sent = stream.send_with_fd(&request::add((1, 5), 7, b"payload"), &[file.as_raw_fd()]);
    assert_eq!(sent.unwrap(), 16 + 7);
    let (mut bytes, mut numbers) = ([0; 32784], [-1; 1]);
    assert_eq!(stream.recv_with_fd(&mut bytes, &mut numbers).unwrap().1, 0);
    assert_eq!(bytes[..4], [3, 0, 0, 0], "not REP 0");
    stream.send_with_fd(&request::get((1, 5)), &[]).unwrap();
    let (length, descriptors) = stream.recv_with_fd(&mut bytes, &mut numbers).unwrap();
    assert_eq!((length, descriptors), (16 + 7, 1));
    assert_eq!(&bytes[16..length], b"payload");
    // SAFETY: this descriptor has just been installed by the receive above, and nobody else
    // knows its number.
    let back = unsafe { OwnedFd::from_raw_fd(numbers[0]) };
    assert_eq!(fixtures::content(back), "from a stranger");
}
