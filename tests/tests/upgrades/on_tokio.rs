//! The upgrader on tokio: its types in and out, and futures that are dropped.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fdbroker::tokio::Upgrader;
use fdbroker::upgrader::{ConnectionState, Happening};
use fdbroker::{Mode, UpgradeError};
use fdbroker_tests::fixtures::{SECRET, assert_hides_secret};
use fdbroker_tests::upgrades::builder;
use fdbroker_tests::{Daemon, PATIENCE, fixtures, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Long enough to see that nothing comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(100);

async fn start(daemon: &Daemon) -> Upgrader {
    Upgrader::start(builder(daemon)).await.unwrap()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("it ends") })
}

#[test]
fn sockets_of_tokio_are_handed_on_and_do_not_block() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    run(async {
        let first = start(&daemon).await;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let tcp: TcpListener = first.listen("tcp", any).await.unwrap();
        let udp: UdpSocket = first.listen("udp", any).await.unwrap();
        let unix: UnixListener = first.listen("unix", path.clone()).await.unwrap();
        first.ready().await.unwrap();

        let second = start(&daemon).await;
        assert_eq!(second.inherited().await.unwrap(), 3);
        let new_tcp: TcpListener = second.listen("tcp", any).await.unwrap();
        let new_udp: UdpSocket = second.listen("udp", any).await.unwrap();
        let new_unix: UnixListener = second.listen("unix", path.clone()).await.unwrap();
        second.ready().await.unwrap();
        first.upgrade_complete().await.unwrap();
        let (at, udp_at) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        drop((tcp, udp, unix));

        let mut client = TcpStream::connect(at).await.unwrap();
        let (mut server, _) = new_tcp.accept().await.unwrap();
        server.write_all(b"tcp").await.unwrap();
        client.read_exact(&mut [0; 3]).await.unwrap();
        UdpSocket::bind(any).await.unwrap().send_to(b"udp", udp_at).await.unwrap();
        assert_eq!(new_udp.recv(&mut [0; 9]).await.unwrap(), 3);
        let _client = UnixStream::connect(&path).await.unwrap();
        new_unix.accept().await.unwrap();
    });
}

#[test]
fn a_socket_of_a_program_that_blocks_does_not_block_on_tokio() {
    let daemon = Daemon::of_upgrades();
    let first = builder(&daemon).start().unwrap();
    let listener: std::net::TcpListener = first.listen("tcp", "127.0.0.1:0").unwrap();
    assert!(!fixtures::flags(&listener).contains(rustix::fs::OFlags::NONBLOCK));
    first.ready().unwrap();
    run(async {
        let second = start(&daemon).await;
        let inherited: TcpListener = second.listener("tcp").await.unwrap().unwrap();
        assert!(fixtures::flags(&inherited).contains(rustix::fs::OFlags::NONBLOCK));
        assert!(timeout(MEANWHILE, inherited.accept()).await.is_err(), "nobody came");
    });
}

#[test]
fn outside_of_a_runtime_a_socket_of_tokio_is_an_error_and_no_panic() {
    let daemon = Daemon::of_upgrades();
    let first = builder(&daemon).start().unwrap();
    let error = first.listen::<TcpListener>("tcp", "127.0.0.1:0").unwrap_err();
    assert!(matches!(error, UpgradeError::Io { .. }), "{error}");
    assert!(first.listen::<std::net::TcpListener>("tcp", "127.0.0.1:0").is_ok());
}

#[test]
fn a_connection_of_tokio_goes_on_with_what_was_read_from_it() {
    let daemon = Daemon::of_upgrades();
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(b" and unread").await.unwrap();
        let first = start(&daemon).await;
        let state = ConnectionState::of(&server).unwrap().buffered(*b"read");
        first.store_connection("client", &server, state.clone()).await.unwrap();
        first.ready().await.unwrap();
        drop((first, server, client));
        let second = start(&daemon).await;
        let found = second.connection::<TcpStream>("client").await.unwrap();
        let (mut server, found) = found.unwrap();
        assert_eq!(found, state);
        let mut text = found.buffered;
        server.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"read and unread");
    });
}

#[test]
fn who_waits_for_the_end_may_stop_waiting_and_wait_again() {
    let daemon = Daemon::of_upgrades();
    run(async {
        let first = start(&daemon).await;
        first.ready().await.unwrap();
        assert!(timeout(MEANWHILE, first.upgrade_complete()).await.is_err());
        assert!(timeout(MEANWHILE, first.next()).await.is_err());
        let second = start(&daemon).await;
        assert!(timeout(MEANWHILE, first.upgrade_complete()).await.is_err());
        let claimed = first.next().await.unwrap();
        assert!(matches!(claimed, Happening::Claimed(_)), "{claimed:?}");
        assert!(timeout(MEANWHILE, first.next()).await.is_err(), "it is told once");
        drop(second);
        assert_eq!(first.next().await.unwrap(), Happening::Withdrawn);
        let third = start(&daemon).await;
        third.ready().await.unwrap();
        first.upgrade_complete().await.unwrap();
        assert_eq!(first.next().await.unwrap(), Happening::Completed);
    });
}

#[test]
fn quiesced_as_well() {
    let daemon = Daemon::of_upgrades();
    run(async {
        let first = start(&daemon).await;
        first.ready().await.unwrap();
        let second = tokio::spawn(Upgrader::start(builder(&daemon).mode(Mode::Quiesced)));
        assert!(matches!(first.next().await.unwrap(), Happening::Claimed(_)));
        first.store("count", None, b"7").await.unwrap();
        first.release().await.unwrap();
        let second = second.await.unwrap().unwrap();
        assert_eq!(second.stored("count").await.unwrap().unwrap().bytes, b"7");
        second.ready().await.unwrap();
        first.upgrade_complete().await.unwrap();
        let late = first.remove("count").await.unwrap_err();
        assert!(matches!(late, UpgradeError::Completed { .. }), "{late}");
    });
}

#[test]
fn clones_are_one_upgrader_and_stopping_it_wakes_whoever_waits() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, "").unwrap();
    run(async {
        let upgrader = start(&daemon).await;
        upgrader.open("log", &path).await.unwrap();
        upgrader.ready().await.unwrap();
        let clone = upgrader.clone();
        let waiter = tokio::spawn(async move { clone.upgrade_complete().await });
        assert_eq!(upgrader.names().await.unwrap(), ["log"]);
        upgrader.stop().await.unwrap();
        let stopped = waiter.await.unwrap().unwrap_err();
        assert!(matches!(stopped, UpgradeError::Stopped { .. }), "{stopped}");
        assert_eq!(upgrader.next().await.unwrap(), Happening::Stopped);
    });
}

#[test]
fn a_file_to_write_to_is_opened_as_the_program_says_and_handed_on() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    run(async {
        for line in ["the first writes\n", "and the second\n"] {
            let (upgrader, path) = (start(&daemon).await, path.clone());
            let create = move || fs::File::options().append(true).create_new(true).open(path);
            let mut log = upgrader.open_with("log", create).await.unwrap();
            log.write_all(line.as_bytes()).unwrap();
            upgrader.ready().await.unwrap();
        }
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), "the first writes\nand the second\n");
}

#[test]
fn no_debug_output_shows_what_is_handed_on() {
    let daemon = Daemon::of_upgrades();
    run(async {
        let first = start(&daemon).await;
        first.store("notes", None, SECRET.as_bytes()).await.unwrap();
        assert_hides_secret(&first);
        first.ready().await.unwrap();
        let second = start(&daemon).await;
        assert_hides_secret(&second);
        // Not while its thread asks the broker.
        wait_until("it says how many names it has", || format!("{second:?}").contains("names: 1"));
        assert!(format!("{second:?}").contains("tag: 10"), "{second:?}");
    });
}

#[test]
fn a_start_that_is_given_up_keeps_neither_the_runtime_nor_the_claim() {
    const HOUR: Duration = Duration::from_secs(3600);
    let daemon = Daemon::of_upgrades();
    let first = builder(&daemon).start().unwrap();
    first.ready().unwrap();
    let runtime = Runtime::new().unwrap();
    // It never comes to its turn: the first one does not release.
    let second = builder(&daemon).mode(Mode::Quiesced).patience(HOUR);
    let second = runtime.spawn(Upgrader::start(second));
    assert!(matches!(first.next().unwrap(), Happening::Claimed(_)));
    second.abort();
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        drop(runtime);
        tell.send(()).unwrap();
    });
    ended.recv_timeout(PATIENCE).expect("the runtime ends");
    assert_eq!(first.next().unwrap(), Happening::Withdrawn);
}

#[test]
fn an_address_may_be_borrowed_whatever_it_is() {
    let daemon = Daemon::of_upgrades();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let any = String::from("127.0.0.1:0");
    run(async {
        let upgrader = start(&daemon).await;
        let tcp: TcpListener = upgrader.listen("text", any.as_str()).await.unwrap();
        let at = tcp.local_addr().unwrap();
        let several = [at, any.parse().unwrap()];
        let other: TcpListener = upgrader.listen("several", &several[..]).await.unwrap();
        assert_ne!(other.local_addr().unwrap(), at, "that one was taken");
        let host = String::from("localhost");
        let _udp: UdpSocket = upgrader.listen("host", (host.as_str(), 0)).await.unwrap();
        let unix: UnixListener = upgrader.listen("unix", path.as_path()).await.unwrap();
        let to = at.to_string();
        let (_tcp, state) = upgrader.connect::<TcpStream>("to text", to.as_str()).await.unwrap();
        assert_eq!(state.peer.unwrap().ip(), Some(at));
        upgrader.connect::<UnixStream>("to unix", &path).await.unwrap();
        unix.accept().await.unwrap();
    });
    // And so does a task that lives longer than this function.
    let runtime = Runtime::new().unwrap();
    let upgrader = runtime.block_on(start(&daemon));
    let task = async move { upgrader.listen::<TcpListener>("task", any.as_str()).await.map(drop) };
    runtime.block_on(runtime.spawn(task)).unwrap().unwrap();
}
