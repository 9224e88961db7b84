//! Where sockets are bound that an upgrader is asked for, and of which kind they are: another address or
//! kind than that of what was inherited is an error.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use fdbroker::UpgradeError;
use fdbroker_tests::upgrades::{builder, serving, start};
use fdbroker_tests::{Daemon, fixtures};

#[test]
fn a_socket_of_another_kind_than_was_asked_for_is_refused_when_it_is_made() {
    let daemon = Daemon::of_upgrades();
    let first = start(&daemon);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let made = || Ok(TcpListener::from(OwnedFd::from(udp.try_clone().unwrap())));
    let error = first.listen_with("http", made).unwrap_err();
    assert!(
        error.to_string().contains("a UDP socket, and not a TCP socket that listens"),
        "{error}"
    );
    let (unix, _peer) = UnixStream::pair().unwrap();
    let made = || Ok(UnixListener::from(OwnedFd::from(unix.try_clone().unwrap())));
    let error = first.listen_with("unix", made).unwrap_err();
    assert!(error.to_string().contains("a Unix connection, and not a Unix socket"), "{error}");
    assert!(first.names().is_empty(), "nothing of the kind is kept");
    first.ready().unwrap();
    let made = || Ok(TcpListener::from(fixtures::file_saying("text")));
    let error = first.listen_with("http", made).unwrap_err();
    assert!(error.to_string().contains("no socket, and not a TCP socket that listens"), "{error}");
    assert!(first.names().is_empty(), "nor when it serves");
}

#[test]
fn an_empty_path_is_no_address_to_listen_or_connect_at() {
    let daemon = Daemon::of_upgrades();
    let first = start(&daemon);
    let errors = [
        first.listen::<UnixListener>("stream", "").unwrap_err(),
        first.listen::<UnixDatagram>("datagram", "").unwrap_err(),
        first.connect::<UnixStream>("to a stream", "").unwrap_err(),
        first.connect::<UnixDatagram>("to a datagram", "").unwrap_err(),
    ];
    for error in errors {
        let UpgradeError::Io { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("the path is empty"), "{error}");
    }
    assert!(first.names().is_empty());
}

#[test]
fn another_address_than_that_of_what_was_inherited_is_an_error_that_says_both() {
    let daemon = Daemon::of_upgrades();
    let mut at = None;
    let _first = serving(&daemon, |first| {
        let listener: TcpListener = first.listen("http", "127.0.0.1:0").unwrap();
        at = Some(listener.local_addr().unwrap());
        let again: TcpListener = first.listen("http", at.unwrap()).unwrap();
        assert!(fixtures::same_file(&listener, &again));
    });
    let at = at.unwrap();
    let second = start(&daemon);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for other in [free, (Ipv4Addr::UNSPECIFIED, at.port()).into(), "127.0.0.2:0".parse().unwrap()] {
        let error = second.listen::<TcpListener>("http", other).unwrap_err();
        assert!(matches!(error, UpgradeError::Address { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains(&at.to_string()) && said.contains(&other.to_string()), "{said}");
        assert!(said.contains("any_address"), "{said}");
    }
    let inherited: TcpListener = second.listen("http", at).expect("it is still there");
    assert_eq!(inherited.local_addr().unwrap(), at);
    second.remove("http").unwrap();
    let moved: TcpListener = second.listen("http", "127.0.0.2:0").unwrap();
    assert_eq!(moved.local_addr().unwrap().ip(), Ipv4Addr::new(127, 0, 0, 2));
}

#[test]
fn who_wants_it_inherits_a_socket_wherever_it_is_bound() {
    let daemon = Daemon::of_upgrades();
    let mut at = None;
    let _first = serving(&daemon, |first| {
        let listener: TcpListener = first.listen("http", "127.0.0.1:0").unwrap();
        at = Some(listener.local_addr().unwrap());
    });
    let second = builder(&daemon).any_address(true).start().unwrap();
    let inherited: TcpListener = second.listen("http", "127.0.0.2:1").unwrap();
    assert_eq!(inherited.local_addr().ok(), at);
}

#[test]
fn a_path_is_compared_as_the_file_that_it_leads_to() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    let first = serving(&daemon, |first| {
        first.listen::<UnixListener>("unix", real.join("socket")).unwrap();
    });
    let second = start(&daemon);
    let error = second.listen::<UnixListener>("unix", real.join("other")).unwrap_err();
    assert!(matches!(error, UpgradeError::Address { .. }), "{error}");
    assert!(second.listen::<UnixListener>("unix", link.join("../real/./socket")).is_ok());
    drop(first);
}
