//! The worker is killed under load, again and again: what was acknowledged is there, and clients
//! of the library notice nothing.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fdbroker::{Broker, Error, Slot};
use fdbroker_tests::{Daemon, Peer, fixtures, request, wait_until};

const CLIENTS: i32 = 4;
const KILLS: usize = 100;
/// How many requests are answered between two kills: enough for every client to have reconnected.
const BETWEEN: u64 = 40;
/// What the log says of each.
const DIED: &str = "the worker has died";
/// How many slots each client uses.
const SLOTS: i32 = 16;

#[test]
fn a_hundred_kills_of_the_worker_lose_no_deposit_and_show_no_client_an_error() {
    let policy = fixtures::OPEN.replace("id = 1", "id = 1\naccept = [\"file\", \"none\"]");
    let daemon = Daemon::with_policy(&policy).start();
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let held: Vec<HashMap<i32, u64>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = Client::new(daemon.socket(), number);
                let (answered, stop) = (&answered, &stop);
                scope.spawn(move || client.run(answered, stop))
            })
            .collect();
        for _ in 0..KILLS {
            let goal = answered.load(Ordering::Relaxed) + BETWEEN;
            wait_until("the clients are served", || {
                answered.load(Ordering::Relaxed) >= goal
                    || clients.iter().any(std::thread::ScopedJoinHandle::is_finished)
            });
            daemon.kill_worker();
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client failed")).collect()
    });
    let mut peer = daemon.connect();
    for (number, held) in (0..).zip(&held) {
        everything_is_there(&mut peer, number, held);
    }
    // Not line by line: a worker that is killed while it writes a line leaves half of one.
    let log = daemon.log().text();
    let deaths: Vec<&str> = log.split('\n').filter(|line| line.contains(DIED)).collect();
    let others: Vec<_> = deaths.iter().filter(|line| !line.contains("(signal: 9")).collect();
    let why: Vec<&str> = log.lines().filter(|line| line.contains("fdbrokerd: worker")).collect();
    assert!(others.is_empty(), "it died of something else: {others:#?} {why:#?}");
    assert_eq!(deaths.len(), KILLS);
}

/// Compares all slots of one client with what was acknowledged to it.
pub(super) fn everything_is_there(peer: &mut Peer, number: i32, held: &HashMap<i32, u64>) {
    for index in first(number)..first(number + 1) {
        match held.get(&index) {
            None => assert_eq!(peer.get((1, index)).errno(), libc::ENOENT, "{index}"),
            Some(count) => assert_eq!(peer.get((1, index)).payload(), count.to_ne_bytes()),
        }
    }
}

fn first(number: i32) -> i32 {
    number * SLOTS
}

/// Deposits, gets and deletes in slots of its own, and knows what must be there.
pub(super) struct Client {
    broker: Broker,
    number: i32,
    held: HashMap<i32, u64>,
    count: u64,
}

impl Client {
    pub(super) fn new(socket: &Path, number: i32) -> Self {
        let broker = Broker::connect_to(socket).unwrap();
        Self { broker, number, held: HashMap::new(), count: 0 }
    }

    pub(super) fn run(mut self, answered: &AtomicU64, stop: &AtomicBool) -> HashMap<i32, u64> {
        while !stop.load(Ordering::Relaxed) {
            self.count += 1;
            let index = first(self.number) + i32::try_from(self.count * 7 % 16).unwrap();
            match self.count % 5 {
                0 | 1 => self.add(index),
                2 => self.del(index),
                _ => self.get(index),
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
        self.held
    }

    fn add(&mut self, index: i32) {
        let file = fixtures::file_saying(&self.count.to_string());
        // Every other deposit has a descriptor.
        let descriptor = self.count.is_multiple_of(2).then(|| file.as_fd());
        self.broker
            .add(slot(index), descriptor, &self.count.to_ne_bytes())
            .unwrap_or_else(|error| panic!("add: {error}"));
        self.held.insert(index, self.count);
    }

    fn get(&mut self, index: i32) {
        match (self.broker.get(slot(index)), self.held.get(&index)) {
            (Ok(deposit), Some(count)) => {
                assert_eq!(deposit.payload, count.to_ne_bytes());
                assert_eq!(deposit.descriptor.is_some(), count.is_multiple_of(2));
                if let Some(descriptor) = deposit.descriptor {
                    assert_eq!(text(&descriptor.into()), count.to_string());
                }
            }
            (Err(Error::Absent { .. }), None) => {}
            (found, held) => panic!("get of {index}: {found:?}, and {held:?} was acknowledged"),
        }
    }

    fn del(&mut self, index: i32) {
        match (self.broker.del(slot(index)), self.held.remove(&index)) {
            (Ok(()), _) | (Err(Error::Absent { .. }), None) => {}
            (found, held) => panic!("del of {index}: {found:?}, and {held:?} was acknowledged"),
        }
    }
}

fn slot(index: i32) -> Slot {
    Slot::new(1, index).unwrap()
}

/// What a file says, wherever its offset is.
fn text(file: &std::fs::File) -> String {
    let mut bytes = [0; 32];
    let length = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn a_client_that_waits_for_a_serial_tag_waits_on_when_the_worker_is_replaced() {
    let policy = fixtures::serial();
    let daemon = Daemon::with_policy(&policy).start();
    let owner = fdbroker_tests::HelperProcess::same();
    owner.connect(&daemon).add((1, 0), "first").done();
    let mut owner_peer = owner.connect(&daemon);
    owner_peer.add((1, 0), "kept").done();
    std::thread::scope(|scope| {
        let mut broker = Broker::connect_to(daemon.socket()).unwrap();
        let waiting = scope.spawn(move || broker.get(slot(0)).map(|deposit| deposit.payload));
        for _ in 0..3 {
            daemon.kill_worker();
            // The owner is served again, so the others have had their chance.
            owner_peer = owner.connect(&daemon);
            assert_eq!(owner_peer.get((1, 0)).payload(), b"kept");
            assert!(!waiting.is_finished(), "the tag was given away while its owner lived");
        }
        owner.kill();
        assert_eq!(waiting.join().unwrap().unwrap(), b"kept");
    });
}

/// Asks for much while the supervisor stands still, then kills the worker; returns how many of the
/// requests were answered. Whatever was acknowledged must hold, however far the supervisor was.
fn killed_before_the_supervisor_has_read(daemon: &Daemon, requests: &[Vec<u8>]) -> usize {
    let mut peer = daemon.connect();
    assert_eq!(peer.get((1, 1_000_000)).errno(), libc::ENOENT);
    daemon.stop_supervisor();
    let file = fixtures::file_saying("x");
    for bytes in requests {
        let announces = bytes[..2] == [1, 0];
        let descriptors = [file.as_fd()];
        peer.send(bytes, if announces { &descriptors } else { &[] });
    }
    let mut answered = 0;
    while answered < requests.len() && peer.is_answered(Duration::from_millis(200)) {
        peer.answer().done();
        answered += 1;
    }
    daemon.kill_worker();
    daemon.go_on();
    answered
}

#[test]
fn what_the_supervisor_has_not_read_when_the_worker_dies_is_not_lost_if_it_was_acknowledged() {
    let daemon = Daemon::open().start();
    let requests: Vec<_> = (0..200).map(|index| request::add((1, index), 3, b"payload")).collect();
    let answered = killed_before_the_supervisor_has_read(&daemon, &requests);
    let mut peer = daemon.connect();
    for index in 0..i32::try_from(answered).unwrap() {
        let answer = peer.get((1, index));
        assert_eq!(answer.errno(), 0, "{index} of {answered} that were acknowledged: {answer:?}");
    }
}

#[test]
fn what_was_deleted_does_not_come_back_when_the_worker_dies() {
    let daemon = Daemon::open().start();
    let mut peer = daemon.connect();
    (0..40).for_each(|index| peer.add((1, index), "x").done());
    // Each deletion with a deposit elsewhere behind it.
    let requests: Vec<_> = (0..40)
        .flat_map(|index| [request::del((1, index)), request::add((1, 1000 + index), 3, b"")])
        .collect();
    let answered = killed_before_the_supervisor_has_read(&daemon, &requests);
    let mut peer = daemon.connect();
    for index in 0..i32::try_from(answered / 2).unwrap() {
        let answer = peer.get((1, index));
        assert_eq!(answer.errno(), libc::ENOENT, "{index} of {answered} came back: {answer:?}");
    }
}
