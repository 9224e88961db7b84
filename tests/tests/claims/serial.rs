//! Tags marked serial: one session at a time, the next one's request waits its turn. So a new
//! instance of a service can ask for the sockets of the old one while that still runs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use fdbroker_tests::helper_process::Connection;
use fdbroker_tests::{Answer, Daemon, HelperProcess, PATIENCE, Peer, fixtures, request};

const POLICY: &str = r#"
[tags.web]
id = 10
serial = true

[tags.plain]
id = 11

[[rules]]
id = "everyone"
allow = ["*"]
slots = ["*"]
anyone = true
"#;

const LISTENER: (i16, i32) = (10, 0);
const CONNECTION: (i16, i32) = (10, 1);

/// Long enough to see that no answer comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(300);

/// A service that runs in two instances, and a client who is connected through it all.
struct Service {
    daemon: Daemon,
    client: TcpStream,
    first: HelperProcess,
    /// The first instance's session with the broker, and its end of the client's connection.
    session: Peer,
    serving: Connection,
}

impl Service {
    /// The first instance runs, serves a client, and has parked its sockets.
    fn start() -> Self {
        let daemon = Daemon::with_policy(POLICY).start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let accepted = listener.accept().unwrap().0;
        let first = HelperProcess::same();
        let mut session = first.connect(&daemon);
        session.add_descriptor(LISTENER, &listener, "listener").done();
        session.add_descriptor(CONNECTION, &accepted, "connection").done();
        let serving = first.keep(accepted.as_fd());
        Self { daemon, client, first, session, serving }
    }

    /// The client asks, an instance answers.
    fn exchange(&mut self, serving: &Connection) {
        self.client.write_all(b"question").unwrap();
        serves(serving);
        self.is_answered();
    }

    fn is_answered(&mut self) {
        let mut answer = [0; 6];
        self.client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }
}

fn serves(serving: &Connection) {
    assert_eq!(serving.read(100).unwrap(), b"question");
    assert_eq!(serving.write(b"answer").unwrap(), 6);
}

#[test]
fn a_second_instance_gets_the_sockets_when_the_first_is_killed_and_the_client_notices_nothing() {
    let mut service = Service::start();
    let serving = service.serving.share().unwrap();
    let serving = service.first.keep(serving);
    service.exchange(&serving);

    let second = HelperProcess::same();
    let mut asks = second.connect(&service.daemon);
    asks.send(&request::get(CONNECTION), &[]);
    assert!(!asks.is_answered(MEANWHILE), "answered while the first instance lives");
    service.exchange(&serving);
    service.client.write_all(b"question").unwrap();
    service.first.kill();

    let connection = second.keep(asks.answer().descriptor());
    serves(&connection);
    service.is_answered();
    service.exchange(&connection);
    let listener = TcpListener::from(asks.get(LISTENER).descriptor());
    let mut newcomer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    newcomer.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    listener.accept().unwrap().0.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
}

#[test]
fn the_death_of_the_worker_does_not_give_the_tag_to_who_waited_while_its_owner_lives() {
    let mut service = Service::start();
    let second = HelperProcess::same();
    let mut asks = second.connect(&service.daemon);
    asks.send(&request::get(CONNECTION), &[]);
    assert!(!asks.is_answered(MEANWHILE), "answered while the first instance lives");

    service.daemon.kill_worker();
    assert!(asks.answer().is_closed());
    let mut asks = second.connect(&service.daemon);
    asks.send(&request::get(CONNECTION), &[]);
    assert!(!asks.is_answered(MEANWHILE), "the crash handed the tag over");
    // The first instance comes back and finds its tag as it was.
    service.session = service.first.connect(&service.daemon);
    service.session.get(LISTENER).descriptor();
    assert!(!asks.is_answered(MEANWHILE), "answered while the first instance lives");

    service.first.kill();
    let connection = second.keep(asks.answer().descriptor());
    service.exchange(&connection);
}

#[test]
fn the_tag_goes_on_when_its_owner_dies_after_the_worker_without_having_come_back() {
    let mut service = Service::start();
    service.daemon.kill_worker();
    let second = HelperProcess::same();
    let mut asks = second.connect(&service.daemon);
    asks.send(&request::get(CONNECTION), &[]);
    assert!(!asks.is_answered(MEANWHILE), "answered while the first instance lives");
    service.first.kill();
    let connection = second.keep(asks.answer().descriptor());
    service.exchange(&connection);
}

#[test]
fn the_tag_is_free_when_its_owner_died_while_there_was_no_worker() {
    let service = Service::start();
    let worker = service.daemon.worker_pid();
    fdbroker_tests::process::signal(worker, rustix::process::Signal::KILL);
    service.first.kill();
    let mut asks = service.daemon.connect();
    let answer = fdbroker_tests::wait_for("the new worker answers", || {
        // The connection may still have been made to the old worker.
        match asks.try_send(&request::get(CONNECTION), &[]).and_then(|()| asks.try_answer()) {
            Ok(Answer::Closed) | Err(_) => {
                asks = service.daemon.connect();
                None
            }
            Ok(answer) => Some(answer),
        }
    });
    answer.descriptor();
}

#[test]
fn those_who_wait_get_their_turn_in_the_order_in_which_they_came() {
    let daemon = Daemon::with_policy(POLICY).start();
    let mut owner = daemon.connect();
    owner.add(LISTENER, "x").done();
    let mut waiting: Vec<Peer> = Vec::new();
    for _ in 0..5 {
        let mut peer = daemon.connect();
        peer.send(&request::get(LISTENER), &[]);
        assert!(!peer.is_answered(Duration::from_millis(50)));
        waiting.push(peer);
    }
    drop(owner);
    while !waiting.is_empty() {
        let mut next = waiting.remove(0);
        assert_eq!(next.answer().payload(), b"x");
        if let Some(last) = waiting.last_mut() {
            assert!(!last.is_answered(Duration::from_millis(20)), "two have the turn");
        }
    }
}

#[test]
fn who_leaves_while_it_waits_does_not_keep_its_place() {
    let daemon = Daemon::with_policy(POLICY).start();
    let mut owner = daemon.connect();
    owner.add(LISTENER, "x").done();
    let mut leaves = daemon.connect();
    leaves.send(&request::get(LISTENER), &[]);
    assert!(!leaves.is_answered(MEANWHILE));
    let mut stays = daemon.connect();
    stays.send(&request::get(LISTENER), &[]);
    drop(leaves);
    drop(owner);
    assert_eq!(stays.answer().payload(), b"x");
}

#[test]
fn those_who_leave_while_they_wait_leave_no_descriptor_behind() {
    let daemon = Daemon::with_policy(POLICY).start();
    let mut owner = daemon.connect();
    owner.add(LISTENER, "x").done();
    let before = daemon.descriptors_with(&mut owner);
    for _ in 0..10 {
        let mut leaves = daemon.connect();
        leaves.send(&request::get(LISTENER), &[]);
        assert!(!leaves.is_answered(Duration::from_millis(20)));
    }
    // Nobody else begins to wait for the tag.
    daemon.wait_for_descriptors(before);
}

#[test]
fn a_tag_that_is_not_serial_serves_everybody_at_once() {
    let daemon = Daemon::with_policy(POLICY).start();
    let mut owner = daemon.connect();
    owner.add((11, 0), "x").done();
    let mut others: Vec<Peer> = (0..10).map(|_| daemon.connect()).collect();
    for other in &mut others {
        assert_eq!(other.get((11, 0)).payload(), b"x");
        other.add((11, 0), "x").done();
    }
}

#[test]
fn who_waits_for_one_tag_does_not_keep_others_from_other_tags() {
    let daemon = Daemon::with_policy(POLICY).start();
    let mut owner = daemon.connect();
    owner.add(LISTENER, "x").done();
    let mut waits = daemon.connect();
    waits.send(&request::get(LISTENER), &[]);
    assert!(!waits.is_answered(MEANWHILE));
    daemon.connect().is_served((11, 0));
    owner.is_served((11, 0));
    assert_eq!(fixtures::content(served_file(&mut owner)), "file");
}

fn served_file(owner: &mut Peer) -> std::os::fd::OwnedFd {
    owner.add_descriptor((10, 7), fixtures::file_saying("file"), "").done();
    owner.get((10, 7)).descriptor()
}

#[test]
fn who_may_not_use_a_serial_tag_neither_waits_for_it_nor_owns_it() {
    let policy = POLICY.replace("slots = [\"*\"]", "slots = [\"web/0-9\"]");
    let daemon = Daemon::with_policy(&policy).start();
    let mut refused = daemon.connect();
    assert_eq!(refused.get((10, 50)).errno(), libc::EACCES);
    let mut owner = daemon.connect();
    owner.add(LISTENER, "x").done();
    // Refused at once, though the tag is somebody else's.
    assert_eq!(refused.get((10, 50)).errno(), libc::EACCES);
}
