//! The echo server of `examples/`: killed while clients talk, it goes on where it was.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use fdbroker_tests::{Daemon, Example, PATIENCE, fixtures, wait_until};

/// What each client says: so many numbers of 8 bytes.
const NUMBERS: u64 = 1 << 20;
const KILLS: u64 = 10;

/// A client that says numbers and expects them back; `heard` follows how many it has.
fn talks(address: SocketAddr, heard: impl Fn(u64) + Send + 'static) -> JoinHandle<()> {
    let mut hears = TcpStream::connect(address).unwrap();
    hears.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut says = hears.try_clone().unwrap();
    let saying = thread::spawn(move || {
        for numbers in (0..NUMBERS).collect::<Vec<_>>().chunks(512) {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
            says.write_all(&bytes).unwrap();
        }
        says.shutdown(Shutdown::Write).unwrap();
    });
    thread::spawn(move || {
        let mut number = [0; 8];
        for expected in 0..NUMBERS {
            hears.read_exact(&mut number).unwrap();
            assert_eq!(u64::from_ne_bytes(number), expected);
            heard(expected);
        }
        assert_eq!(hears.read(&mut number).unwrap(), 0, "more came than was said");
        saying.join().unwrap();
    })
}

#[test]
fn killed_while_clients_talk_it_goes_on_and_no_byte_is_missing_or_doubled() {
    let daemon = Daemon::with_policy(fixtures::OPEN).start();
    let mut server = Example::start(&daemon, "echo");
    let address = server.address();
    let progress = Arc::new(AtomicU64::new(0));
    let follow = progress.clone();
    let clients =
        [talks(address, move |number| follow.store(number, Relaxed)), talks(address, |_| ())];
    for kill in 1..=KILLS {
        wait_until("the client has heard a part", || {
            progress.load(Relaxed) > kill * NUMBERS / (KILLS + 2)
        });
        server.kill();
        server = Example::start(&daemon, "echo");
        assert_eq!(server.address(), address);
    }
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn what_was_said_while_it_was_dead_is_echoed_and_who_left_meanwhile_is_forgotten() {
    let daemon = Daemon::with_policy(fixtures::OPEN).start();
    let server = Example::start(&daemon, "echo");
    let address = server.address();
    let mut stays = TcpStream::connect(address).unwrap();
    let mut leaves = TcpStream::connect(address).unwrap();
    for client in [&mut stays, &mut leaves] {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        exchange(client, b"hello");
    }
    server.kill();
    stays.write_all(b"are you there?").unwrap();
    leaves.write_all(b"bye").unwrap();
    leaves.shutdown(Shutdown::Write).unwrap();
    let mut comes = TcpStream::connect(address).unwrap();

    let server = Example::start(&daemon, "echo");
    assert_eq!(server.says("listening on "), format!("{address}, with 2 connections"));
    let mut heard = [0; 14];
    stays.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"are you there?");
    let mut rest = Vec::new();
    leaves.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"bye");
    exchange(&mut comes, b"I came while nobody was there");
    // The listener, and three for each of the two that are left.
    let mut broker = fdbroker::Broker::connect_to(daemon.socket()).unwrap();
    wait_until("the one that left is forgotten", || broker.list(None).unwrap().len() == 7);
}

#[track_caller]
fn exchange(client: &mut TcpStream, words: &[u8]) {
    client.write_all(words).unwrap();
    let mut heard = vec![0; words.len()];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(heard, words);
}
