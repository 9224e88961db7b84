//! The UDP server of `examples/`: its socket is handed on, and no datagram in it is lost.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fdbroker_tests::{Daemon, Example, PATIENCE, fixtures, wait_until};
use rustix::process::Signal;

/// The tag of the example.
const TAG: i16 = 6;

/// As many as a buffer of the default size surely holds.
const WAITING: u32 = 100;

fn client(server: &Example) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// The next answer: which process gave it, and to which number.
#[track_caller]
fn answer(client: &UdpSocket) -> (u32, u32) {
    let mut bytes = [0; 100];
    let length = client.recv(&mut bytes).unwrap();
    let text = std::str::from_utf8(&bytes[..length]).unwrap();
    let (process, number) = text.split_once(' ').unwrap();
    (process.parse().unwrap(), number.parse().unwrap())
}

fn say(client: &UdpSocket, number: u32) {
    client.send(number.to_string().as_bytes()).unwrap();
}

#[test]
fn what_lies_in_the_buffer_while_the_socket_is_handed_on_is_answered_by_the_new_one() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut old = Example::start(&daemon, "udp");
    let client = client(&old);
    say(&client, 0);
    assert_eq!(answer(&client), (old.pid(), 0));

    old.signal(Signal::STOP);
    (1..=WAITING).for_each(|number| say(&client, number));
    let new = Example::start(&daemon, "udp");
    for number in 1..=WAITING {
        assert_eq!(answer(&client), (new.pid(), number));
    }
    old.signal(Signal::CONT);
    assert!(old.ends().success());
}

#[test]
fn what_lies_in_the_buffer_of_one_that_is_killed_is_answered_by_the_next() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let old = Example::start(&daemon, "udp");
    let client = client(&old);
    old.signal(Signal::STOP);
    (0..WAITING).for_each(|number| say(&client, number));
    old.kill();
    let new = Example::start(&daemon, "udp");
    for number in 0..WAITING {
        assert_eq!(answer(&client), (new.pid(), number));
    }
}

#[test]
fn under_constant_traffic_every_datagram_is_answered_once_whoever_has_the_socket() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut server = Example::start(&daemon, "udp");
    let client = client(&server);
    let ends = Arc::new(AtomicBool::new(false));
    let says = thread::spawn({
        let (client, ends) = (client.try_clone().unwrap(), ends.clone());
        move || {
            let mut number = 0;
            while !ends.load(Ordering::Relaxed) {
                say(&client, number);
                number += 1;
                // The pace: a full buffer drops what comes, with or without an upgrade.
                thread::sleep(Duration::from_micros(500));
            }
            number
        }
    });
    // Read all the time: a full buffer of the client's would drop answers.
    let answers = Arc::new(Mutex::new(Vec::new()));
    thread::spawn({
        let answers = answers.clone();
        move || {
            loop {
                let answer = answer(&client);
                answers.lock().unwrap().push(answer);
            }
        }
    });
    for _ in 0..10 {
        let new = Example::start(&daemon, "udp");
        let of_new = |(process, _): &(u32, u32)| *process == new.pid();
        wait_until("the new one answers", || answers.lock().unwrap().iter().any(of_new));
        assert!(server.ends().success());
        server = new;
    }
    ends.store(true, Ordering::Relaxed);
    let said = says.join().unwrap();
    wait_until("everything is answered", || answers.lock().unwrap().len() >= said as usize);
    // Two processes may answer out of order for a moment.
    let mut numbers: Vec<_> = answers.lock().unwrap().iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..said).collect::<Vec<_>>());
}
