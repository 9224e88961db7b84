//! The counter of `examples/`: handed over in the middle of its connections, again and again.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fdbroker_tests::{Daemon, Example, PATIENCE, fixtures, wait_until};

/// The tag of the example.
const TAG: i16 = 3;

const UPGRADES: u64 = 20;
/// How many lines a client says that it has not heard the answers to.
const AHEAD: u64 = 50;

/// A client that talks until it is told to end, and counts along.
struct Client {
    ends: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    says: JoinHandle<u64>,
    hears: JoinHandle<u64>,
}

impl Client {
    /// One that says its lines in pieces of so many bytes, which end anywhere in a line.
    fn of(address: SocketAddr, piece: usize) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (ends, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let says = thread::spawn({
            let stream = stream.try_clone().unwrap();
            let (ends, heard) = (ends.clone(), heard.clone());
            move || says(&stream, piece, &ends, &heard)
        });
        let hears = thread::spawn({
            let heard = heard.clone();
            move || hears(&stream, &heard)
        });
        Self { ends, heard, says, hears }
    }

    /// It goes on to be answered.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.heard.load(Ordering::Relaxed);
        wait_until("the client hears more", || {
            assert!(!self.hears.is_finished(), "the client has heard something wrong");
            self.heard.load(Ordering::Relaxed) > before
        });
    }

    /// Says no more, and has heard all that belongs to what it said.
    fn ends(self) {
        self.ends.store(true, Ordering::Relaxed);
        let said = self.says.join().unwrap();
        assert_eq!(self.hears.join().unwrap(), said);
    }
}

/// Sends lines, the next ones while answers to others are on their way; returns how many.
fn says(mut stream: &TcpStream, piece: usize, ends: &AtomicBool, heard: &AtomicU64) -> u64 {
    let mut said = 0;
    while !ends.load(Ordering::Relaxed) {
        if said - heard.load(Ordering::Relaxed) > AHEAD {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let lines: String = (0..10).map(|line| format!("line {}\n", said + line)).collect();
        for piece in lines.as_bytes().chunks(piece) {
            stream.write_all(piece).unwrap();
        }
        said += 10;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    said
}

/// Returns how many lines came, each with its number.
fn hears(stream: &TcpStream, heard: &AtomicU64) -> u64 {
    let mut number = 0;
    for line in BufReader::new(stream).lines() {
        assert_eq!(line.unwrap(), format!("{} line {number}", number + 1));
        number += 1;
        heard.store(number, Ordering::Relaxed);
    }
    number
}

#[test]
fn handed_over_in_mid_stream_twenty_times_it_misses_and_doubles_no_number() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut server = Example::start(&daemon, "counter");
    let address = server.address();
    let mut clients: Vec<_> = [1, 7, 1000].map(|piece| Client::of(address, piece)).into();
    for _ in 0..UPGRADES {
        let new = Example::start(&daemon, "counter");
        assert!(server.ends().success());
        server = new;
        // Those that come between two upgrades are handed on as well.
        clients.push(Client::of(address, 3));
        clients.iter().for_each(Client::goes_on);
    }
    clients.into_iter().for_each(Client::ends);
}

#[test]
fn killed_after_a_hand_over_it_does_not_count_a_number_twice() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut first = Example::start(&daemon, "counter");
    let stream = TcpStream::connect(first.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(&stream).lines();
    let mut say = |line: &str| {
        // The server may be dead: then this fails.
        let _ = writeln!(&stream, "{line}");
        answers.next()?.ok()
    };
    assert_eq!(say("a").as_deref(), Some("1 a"));
    let second = Example::start(&daemon, "counter");
    assert!(first.ends().success());
    assert_eq!(say("b").as_deref(), Some("2 b"));
    assert_eq!(say("c").as_deref(), Some("3 c"));
    second.kill();
    let _third = Example::start(&daemon, "counter");
    assert_eq!(say("d"), None, "it knows nothing of 3, and does not go on from 1");
}

#[test]
fn a_broker_that_is_restarted_as_a_whole_costs_no_client_and_no_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let start = || Daemon::with_policy(&fixtures::open_at(TAG)).socket(path.clone()).start();
    let mut before = start();
    let mut first = Example::start(&before, "counter");
    let client = Client::of(first.address(), 7);
    client.goes_on();
    before.kill_both();
    let after = start();
    wait_until("the listener is there again", || {
        fdbroker::Broker::connect_to(&path).unwrap().list(None).unwrap().len() == 1
    });
    client.goes_on();
    let _second = Example::start(&after, "counter");
    assert!(first.ends().success());
    client.goes_on();
    client.ends();
}
