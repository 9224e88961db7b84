//! What an upgrader hands on: sockets, connections, files and what is stored, by name. Two upgraders
//! of one process are as good as two processes here.

use std::fs;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use fdbroker::upgrader::{ConnectionState, Options, Role, SocketKind};
use fdbroker::{Connector, UpgradeError, Upgrader};
use fdbroker_tests::fixtures::{SECRET, assert_hides_secret};
use fdbroker_tests::upgrades::{POLICY, WEB, serving, start};
use fdbroker_tests::{Daemon, fixtures, wait_until};

#[test]
fn the_same_call_makes_a_socket_and_inherits_it() {
    let daemon = Daemon::of_upgrades();
    let first = start(&daemon);
    assert_eq!(first.inherited(), 0);
    let made: TcpListener = first.listen("http", "127.0.0.1:0").unwrap();
    first.ready().unwrap();

    let second = start(&daemon);
    assert_eq!(second.inherited(), 1);
    let inherited: TcpListener = second.listen("http", "127.0.0.1:0").unwrap();
    let address = made.local_addr().unwrap();
    assert_eq!(inherited.local_addr().unwrap(), address, "the port that the first one was given");
    drop(made);
    let client = TcpStream::connect(address).unwrap();
    assert_eq!(inherited.accept().unwrap().1, client.local_addr().unwrap());
    second.ready().unwrap();
    first.upgrade_complete().unwrap();
}

#[test]
fn names_are_the_keys_and_not_addresses() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let group = Options::new().reuse_port(true);
    type Sockets = (TcpListener, UdpSocket, TcpListener, TcpListener, UnixListener);
    let sockets = |upgrader: &Upgrader, port: u16| -> Sockets {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let (tcp, udp) = loop {
            let tcp: TcpListener = upgrader.listen("tcp", address).unwrap();
            match upgrader.listen("udp", tcp.local_addr().unwrap()) {
                Ok(udp) => break (tcp, udp),
                // Somebody else has that port of UDP: another one, then.
                Err(UpgradeError::Io { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
                    upgrader.remove("tcp").unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let one: TcpListener = upgrader.listen_with("group-1", || group.bind(any)).unwrap();
        let shared = one.local_addr().unwrap();
        let two = upgrader.listen_with("group-2", || group.bind(shared)).unwrap();
        (tcp, udp, one, two, upgrader.listen("unix", path.as_path()).unwrap())
    };
    let first = start(&daemon);
    let made = sockets(&first, 0);
    first.ready().unwrap();
    let second = start(&daemon);
    let inherited = sockets(&second, 0);
    assert_eq!(made.0.local_addr().unwrap(), inherited.0.local_addr().unwrap());
    assert_eq!(made.1.local_addr().unwrap(), inherited.0.local_addr().unwrap(), "one port");
    assert_eq!(made.1.local_addr().unwrap(), inherited.1.local_addr().unwrap());
    for (made, inherited) in [(&made.2, &inherited.2), (&made.3, &inherited.3)] {
        assert!(fixtures::same_file(made, inherited));
    }
    assert!(!fixtures::same_file(&inherited.2, &inherited.3), "each of the group by its own name");
    assert!(fixtures::same_file(&made.4, &inherited.4) && path.exists());
    second.ready().unwrap();
}

#[test]
fn a_unix_socket_goes_on_at_its_path_whoever_has_gone() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    let first = serving(&daemon, |first| {
        drop(first.listen::<UnixListener>("unix", path.as_path()).unwrap());
    });
    drop(first);
    let client = UnixStream::connect(&path).unwrap();
    let second = start(&daemon);
    let listener: UnixListener = second.listen("unix", path.as_path()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"from the second").unwrap();
    drop(server);
    let mut text = String::new();
    let _ = { client }.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the second");
}

#[test]
fn what_was_inherited_and_never_asked_for_is_closed_when_the_process_is_ready() {
    let daemon = Daemon::of_upgrades();
    let mut addresses = Vec::new();
    let first = serving(&daemon, |first| {
        for name in ["kept", "dropped"] {
            let listener: TcpListener = first.listen(name, "127.0.0.1:0").unwrap();
            addresses.push(listener.local_addr().unwrap());
        }
    });
    let second = start(&daemon);
    let _kept: TcpListener = second.listener("kept").unwrap().unwrap();
    TcpStream::connect(addresses[1]).expect("not before it is ready");
    assert_eq!(second.names(), ["dropped", "kept"]);
    second.ready().unwrap();
    assert_eq!(second.names(), ["kept"]);
    drop(first);
    wait_until(
        "nobody listens there any more",
        || matches!(TcpStream::connect(addresses[1]), Err(error) if error.kind() == ErrorKind::ConnectionRefused),
    );
    TcpStream::connect(addresses[0]).unwrap();
    drop(second);
    assert_eq!(start(&daemon).names(), ["kept"]);
}

#[test]
fn a_connection_goes_on_with_what_was_read_from_it() {
    let daemon = Daemon::of_upgrades();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    client.write_all(b"GET /half of a ").unwrap();
    let mut buffered = vec![0; 8];
    server.read_exact(&mut buffered).unwrap();
    let state = ConnectionState::of(&server).unwrap().protocol("http/1.1");
    let state = state.buffered(buffered).extra("session 7");
    let first = serving(&daemon, |first| {
        first.store_connection("client 1", &server, state.clone()).unwrap();
    });
    drop((first, server));
    client.write_all(b"request").unwrap();

    let second = start(&daemon);
    let (mut server, found) = second.connection::<TcpStream>("client 1").unwrap().unwrap();
    assert_eq!(found, state);
    assert_eq!(found.peer.unwrap().ip(), Some(peer));
    drop(client);
    let mut rest = String::new();
    server.read_to_string(&mut rest).unwrap();
    assert_eq!([found.buffered, rest.into_bytes()].concat(), b"GET /half of a request");
}

#[test]
fn a_connection_that_was_made_is_not_made_again() {
    let daemon = Daemon::of_upgrades();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let first = start(&daemon);
    let (made, state) = first.connect::<TcpStream>("database", address).unwrap();
    assert_eq!(state.peer.unwrap().ip(), Some(address));
    first.ready().unwrap();
    listener.accept().unwrap();
    drop(listener);
    let second = start(&daemon);
    let (inherited, _) = second.connect::<TcpStream>("database", address).unwrap();
    assert!(fixtures::same_file(&made, &inherited));
}

#[test]
fn a_datagram_socket_with_one_peer_is_a_connection_too() {
    let daemon = Daemon::of_upgrades();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let first = start(&daemon);
    let (made, state) = first.connect::<UdpSocket>("statistics", address).unwrap();
    assert_eq!(state.peer.unwrap().ip(), Some(address));
    first.ready().unwrap();
    let second = start(&daemon);
    let (inherited, _) = second.connect::<UdpSocket>("statistics", address).unwrap();
    assert!(fixtures::same_file(&made, &inherited));
    inherited.send(b"one more").unwrap();
    let mut received = [0; 16];
    assert_eq!(server.recv_from(&mut received).unwrap(), (8, made.local_addr().unwrap()));
}

#[test]
fn a_file_goes_on_at_its_offset() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, "one two").unwrap();
    let first = start(&daemon);
    let mut file = first.open("log", &path).unwrap();
    file.read_exact(&mut [0; 4]).unwrap();
    first.ready().unwrap();
    drop(first);
    fs::remove_file(&path).unwrap();
    let second = start(&daemon);
    let mut text = String::new();
    second.open("log", &path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "two");
    let error = second.open("other", &path).unwrap_err();
    assert!(matches!(error, UpgradeError::Io { .. }), "{error}");
    assert!(second.file("nothing").unwrap().is_none());
    second.ready().unwrap();
    // Its own deposit is got again, with the offset that all share.
    let mut again = second.file("log").unwrap().unwrap();
    assert_eq!(again.stream_position().unwrap(), 7);
}

#[test]
fn what_is_stored_is_stored_by_name() {
    let daemon = Daemon::of_upgrades();
    let file = fixtures::file_saying("in the file");
    let first = serving(&daemon, |first| {
        first.store("both", Some(file.as_fd()), b"bytes").unwrap();
        first.store("bytes", None, b"old").unwrap();
        first.store("bytes", None, b"new").unwrap();
        assert_eq!(first.stored("bytes").unwrap().unwrap().bytes, b"new", "before it is ready");
        first.store("gone", None, b"").unwrap();
        assert!(first.remove("gone").unwrap());
    });
    first.store("later", None, b"at the broker at once").unwrap();
    first.store("soon gone", None, b"").unwrap();
    assert!(first.remove("soon gone").unwrap());
    assert!(!first.remove("soon gone").unwrap());
    drop(first);
    let second = start(&daemon);
    assert_eq!(second.names(), ["both", "bytes", "later"]);
    let both = second.stored("both").unwrap().unwrap();
    assert_eq!(
        (fixtures::content(both.descriptor.unwrap()), both.bytes),
        ("in the file".into(), b"bytes".to_vec())
    );
    assert_eq!(second.stored("bytes").unwrap().unwrap().bytes, b"new");
    assert!(second.stored("gone").unwrap().is_none());
}

#[test]
fn more_sockets_than_one_message_holds_are_handed_on() {
    const MANY: usize = 600;
    let daemon = Daemon::of_upgrades();
    let sockets: Vec<_> = (0..MANY).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let first = serving(&daemon, |first| {
        for (number, socket) in sockets.iter().enumerate() {
            let name = format!("udp {number}");
            first.listen_with(&name, || socket.try_clone()).unwrap();
        }
    });
    let second = start(&daemon);
    assert_eq!(second.inherited(), MANY);
    for (number, socket) in sockets.iter().enumerate().step_by(2) {
        let inherited: UdpSocket = second.listener(&format!("udp {number}")).unwrap().unwrap();
        assert_eq!(inherited.local_addr().unwrap(), socket.local_addr().unwrap());
    }
    second.ready().unwrap();
    first.upgrade_complete().unwrap();
    assert_eq!(second.names().len(), MANY / 2);
    drop(second);
    assert_eq!(start(&daemon).inherited(), MANY / 2);
}

#[test]
fn what_has_a_name_is_not_taken_for_something_else() {
    let daemon = Daemon::of_upgrades();
    let first = serving(&daemon, |first| {
        first.listen::<TcpListener>("tcp", "127.0.0.1:0").unwrap();
        first.store("bytes", None, b"x").unwrap();
    });
    drop(first);
    let second = start(&daemon);
    let error = second.listener::<UdpSocket>("tcp").unwrap_err();
    assert!(
        matches!(error, UpgradeError::SocketKind { asked: SocketKind::UdpSocket, .. }),
        "{error}"
    );
    assert!(second.listener::<TcpListener>("tcp").unwrap().is_some(), "it is still there");
    let error = second.stored("tcp").unwrap_err();
    assert!(matches!(error, UpgradeError::Role { found: Role::Listener, .. }), "{error}");
    let error = second.store("", None, b"").unwrap_err();
    assert!(matches!(error, UpgradeError::BadName { .. }), "{error}");
    let error = second.store("large", None, &[0; 32768]).unwrap_err();
    assert!(matches!(error, UpgradeError::TooLarge { size: 32_797.., .. }), "{error}");
}

#[test]
fn what_others_left_in_the_tag_stays_theirs() {
    let daemon = Daemon::of_upgrades();
    let mut other = daemon.connect();
    for index in [0, 2] {
        other.add((10, index), "not ours").done();
    }
    serving(&daemon, |upgrader| {
        assert_eq!(upgrader.inherited(), 0);
        for name in ["a", "b", "c"] {
            upgrader.store(name, None, b"").unwrap();
        }
    });
    for index in [0, 2] {
        assert_eq!(other.get((10, index)).payload(), b"not ours");
    }
}

/// A payload as another version writes it: its head, and a field that this one does not know.
fn payload_of(major: u16, minor: u16, name: &str) -> Vec<u8> {
    const LISTENER: u16 = 1;
    let length = u16::try_from(name.len()).unwrap();
    let head = [major, minor, LISTENER, length].map(u16::to_ne_bytes).concat();
    let field = [999_u16, 0, 3, 0].map(u16::to_ne_bytes).concat();
    [&b"\x7ffdbupg\0"[..], &head, name.as_bytes(), &field, b"new"].concat()
}

#[test]
fn what_a_later_version_left_is_inherited_as_far_as_it_can_be_read() {
    let daemon = Daemon::of_upgrades();
    let mut later = daemon.connect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    later.add_descriptor((10, 0), &listener, payload_of(1, 7, "http")).done();
    later.add((10, 1), payload_of(2, 0, "quic")).done();
    let older = start(&daemon);
    let inherited: TcpListener = older.listen("http", "127.0.0.1:0").unwrap();
    assert!(fixtures::same_file(&listener, &inherited));
    let error = older.listen::<TcpListener>("quic", "127.0.0.1:0").unwrap_err();
    assert!(matches!(&error, UpgradeError::Unreadable { name } if name == "quic"), "{error}");
    older.ready().unwrap();
    // It may go back to the later one.
    assert_eq!(later.get((10, 1)).payload(), payload_of(2, 0, "quic"));
    assert_eq!(later.get((10, 0)).payload(), payload_of(1, 7, "http"));
    assert!(older.remove("quic").unwrap());
    assert_eq!(later.get((10, 1)).errno(), 2);
}

#[test]
fn a_resource_of_the_policy_in_the_tag_is_not_opened() {
    let resource = "[resources.null]\nslot = \"web/3\"\ndevice = \"/dev/null\"\n";
    let daemon = Daemon::with_policy(&format!("{POLICY}{resource}")).start();
    let mut other = daemon.connect();
    other.add((10, 7), "so that the tag reaches beyond").done();
    let upgrader = serving(&daemon, |upgrader| {
        for name in ["a", "b", "c", "d"] {
            upgrader.store(name, None, b"").unwrap();
        }
    });
    assert_eq!(upgrader.names().len(), 4);
    let opened = daemon.log().decisions();
    assert!(!opened.iter().any(|line| line.right == "get" && line.slot == "10/3"), "{opened:?}");
}

#[test]
fn a_slot_that_becomes_free_is_used_again() {
    let daemon = Daemon::of_upgrades();
    let upgrader = serving(&daemon, |_| {});
    for round in 0..50 {
        let name = format!("connection {round}");
        upgrader.store(&name, None, b"").unwrap();
        assert!(upgrader.remove(&name).unwrap());
    }
    upgrader.store("last", None, b"").unwrap();
    let mut broker = fdbroker::Broker::connect_to(daemon.socket()).unwrap();
    assert_eq!(broker.tag(WEB).unwrap().used, 1);
}

#[test]
fn no_debug_output_shows_what_is_handed_on() {
    let daemon = Daemon::of_upgrades();
    let (connection, _peer) = UnixStream::pair().unwrap();
    let state = ConnectionState::of(&connection).unwrap().buffered(SECRET).extra(SECRET);
    assert_hides_secret(&state);
    let fill = |upgrader: &Upgrader| {
        upgrader.store("notes", None, SECRET.as_bytes()).unwrap();
        upgrader.store_connection("client", &connection, state.clone()).unwrap();
        assert_hides_secret(upgrader);
    };
    let first = serving(&daemon, fill);
    // Again, now that it goes to the broker at once.
    fill(&first);
    let second = start(&daemon);
    assert_hides_secret(&second);
    let stored = second.stored("notes").unwrap().unwrap();
    assert_eq!(stored.bytes, SECRET.as_bytes());
    assert_hides_secret(&stored);
    assert_hides_secret(&second);
    // Not while its thread asks the broker.
    wait_until("it says how many names it has", || format!("{second:?}").contains("names: 2"));
    assert!(format!("{second:?}").contains("tag: 10"), "{second:?}");
}

#[test]
fn a_tag_may_be_given_by_its_name_in_the_policy() {
    let resource = "[resources.null]\nslot = \"web/3\"\ndevice = \"/dev/null\"\n";
    let daemon = Daemon::with_policy(&format!("{POLICY}{resource}")).start();
    let named = |name: &str| {
        let connector = Connector::new().socket(daemon.socket());
        Upgrader::named(name).connector(connector).start()
    };
    let first = named("web").unwrap();
    first.store("notes", None, b"by name").unwrap();
    first.ready().unwrap();
    let second = named("10").expect("a number is one still");
    assert_eq!(second.stored("notes").unwrap().unwrap().bytes, b"by name");
    assert!(format!("{second:?}").contains("tag: 10"), "{second:?}");
    let error = named("null").unwrap_err();
    assert!(matches!(&error, UpgradeError::NoTag { name } if name == "null"), "{error}");
    let error = named("nothing").unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
}
