//! Listening sockets that nobody can reach any more: they are made again or refused, and not inherited. Two
//! upgraders of one process are as good as two processes here.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use fdbroker::upgrader::Options;
use fdbroker::{Connector, UpgradeError, Upgrader};
use fdbroker_tests::upgrades::{WEB, serving, start};
use fdbroker_tests::{Daemon, fixtures, wait_until};
use rustix::net::{Shutdown, shutdown};

/// Somebody who connects is accepted.
#[track_caller]
fn is_reached(listener: &UnixListener, path: &Path) {
    let client = UnixStream::connect(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener.accept().expect("the client waits in this socket");
    drop(client);
}

/// As where the directory of a service is made again at its restart (RuntimeDirectory=).
#[test]
fn a_unix_listener_whose_path_has_gone_is_made_again() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    let path = run.join("socket");
    fs::create_dir(&run).unwrap();
    drop(serving(&daemon, |first| {
        first.listen::<UnixListener>("stream", &path).unwrap();
        first.listen::<UnixDatagram>("datagram", run.join("datagram")).unwrap();
        let made = || Options::new().bind(run.join("with"));
        first.listen_with::<UnixListener>("with", made).unwrap();
    }));
    fs::remove_dir_all(&run).unwrap();
    fs::create_dir(&run).unwrap();

    let second = start(&daemon);
    let error = second.listener::<UnixListener>("stream").unwrap_err();
    assert!(matches!(error, UpgradeError::Dead { .. }), "{error}");
    assert!(error.to_string().contains("its path has gone"), "{error}");
    let stream: UnixListener = second.listen("stream", &path).unwrap();
    is_reached(&stream, &path);
    let datagram: UnixDatagram = second.listen("datagram", run.join("datagram")).unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"x", run.join("datagram")).unwrap();
    assert_eq!(datagram.recv(&mut [0; 2]).unwrap(), 1);
    let made = || Options::new().bind(run.join("with"));
    is_reached(&second.listen_with("with", made).unwrap(), &run.join("with"));
    second.ready().unwrap();
    drop(second);

    let third = start(&daemon);
    assert_eq!(third.names(), ["datagram", "stream", "with"]);
    let inherited: UnixListener = third.listen("stream", &path).unwrap();
    assert!(fixtures::same_file(&stream, &inherited), "the one that was made again");
}

#[test]
fn a_unix_listener_whose_path_is_another_socket_is_made_again_or_refused() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    drop(serving(&daemon, |first| drop(first.listen::<UnixListener>("unix", &path).unwrap())));
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();

    let second = start(&daemon);
    let error = second.listen::<UnixListener>("unix", &path).unwrap_err();
    assert!(matches!(error, UpgradeError::Dead { .. }), "{error}");
    assert!(error.to_string().contains("its path is another file by now"), "{error}");
    is_reached(&other, &path);
    drop(other);
    is_reached(&second.listen("unix", &path).unwrap(), &path);
}

#[test]
fn a_unix_listener_that_was_shut_down_is_made_again() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    drop(serving(&daemon, |first| {
        let listener: UnixListener = first.listen("unix", &path).unwrap();
        shutdown(&listener, Shutdown::Read).unwrap();
    }));
    let refused = UnixStream::connect(&path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let second = start(&daemon);
    let error = second.listener::<UnixListener>("unix").unwrap_err();
    assert!(error.to_string().contains("it was shut down"), "{error}");
    is_reached(&second.listen("unix", &path).unwrap(), &path);
}

#[test]
fn a_tcp_listener_that_was_shut_down_listens_again_at_its_port() {
    let daemon = Daemon::of_upgrades();
    let mut at = None;
    drop(serving(&daemon, |first| {
        let listener: TcpListener = first.listen("http", "127.0.0.1:0").unwrap();
        at = listener.local_addr().ok();
        shutdown(&listener, Shutdown::Read).unwrap();
    }));
    let at = at.unwrap();
    let refused = TcpStream::connect(at).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let second = start(&daemon);
    let error = second.listen::<TcpListener>("http", "127.0.0.2:0").unwrap_err();
    assert!(matches!(error, UpgradeError::Address { .. }), "{error}");
    assert!(TcpStream::connect(at).is_err(), "nobody asked for it here");
    let listener: TcpListener = second.listen("http", "127.0.0.1:0").unwrap();
    assert_eq!(listener.local_addr().unwrap(), at);
    let _client = TcpStream::connect(at).unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_udp_socket_that_was_shut_down_is_refused_while_its_port_is_taken() {
    let daemon = Daemon::of_upgrades();
    let mut at = None;
    drop(serving(&daemon, |first| {
        let socket: UdpSocket = first.listen("udp", "127.0.0.1:0").unwrap();
        at = socket.local_addr().ok();
        // It is shut down although that is an error for a socket without a peer.
        let _ = shutdown(socket.as_fd(), Shutdown::Read);
    }));
    let second = start(&daemon);
    let error = second.listen::<UdpSocket>("udp", at.unwrap()).unwrap_err();
    assert!(matches!(error, UpgradeError::Dead { .. }), "{error}");
    assert!(second.listen::<UdpSocket>("udp", "127.0.0.1:0").is_ok(), "at another port");
}

#[test]
fn the_file_of_a_listener_is_known_after_a_restart_of_the_broker_too() {
    let directory = tempfile::tempdir().unwrap();
    let (path, socket) = (directory.path().join("socket"), directory.path().join("broker"));
    let mut before = Daemon::of_upgrades();
    std::os::unix::fs::symlink(before.socket(), &socket).unwrap();
    let first = Upgrader::builder(WEB).connector(Connector::new().socket(&socket));
    let first = first.start().unwrap();
    first.listen::<UnixListener>("unix", &path).unwrap();
    first.ready().unwrap();
    before.end(rustix::process::Signal::TERM);
    let after = Daemon::of_upgrades();
    let other = directory.path().join("other");
    std::os::unix::fs::symlink(after.socket(), &other).unwrap();
    fs::rename(&other, &socket).unwrap();
    let mut looks = after.connect();
    wait_until("the listener is at the new broker", || looks.get((10, 0)).errno() == 0);
    drop(first);
    fs::remove_file(&path).unwrap();
    let second = start(&after);
    is_reached(&second.listen("unix", &path).unwrap(), &path);
}
