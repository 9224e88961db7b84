//! The draining listener of `examples/`: old processes keep whom they have, the new one gets who is
//! new.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use fdbroker_tests::{Daemon, Example, PATIENCE, fixtures};

/// The tag of the example.
const TAG: i16 = 4;

struct Client(BufReader<TcpStream>);

impl Client {
    fn of(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Says something, and is answered by this process.
    #[track_caller]
    fn is_served_by(&mut self, process: &Example) {
        self.0.get_mut().write_all(b"hello\n").unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{} hello\n", process.pid()));
    }
}

#[test]
fn the_old_one_serves_whom_it_has_and_ends_with_the_last_and_the_new_one_takes_who_is_new() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut first = Example::start(&daemon, "drain");
    let address = first.address();
    let mut early: Vec<_> = (0..3).map(|_| Client::of(address)).collect();
    early.iter_mut().for_each(|client| client.is_served_by(&first));

    let mut second = Example::start(&daemon, "drain");
    first.says("no new clients any more");
    let mut middle: Vec<_> = (0..3).map(|_| Client::of(address)).collect();
    middle.iter_mut().for_each(|client| client.is_served_by(&second));
    early.iter_mut().for_each(|client| client.is_served_by(&first));

    let third = Example::start(&daemon, "drain");
    second.says("no new clients any more");
    let mut late: Vec<_> = (0..3).map(|_| Client::of(address)).collect();
    late.iter_mut().for_each(|client| client.is_served_by(&third));

    // Each one stays as long as a single client does, whatever the others do.
    drop(middle.split_off(1));
    drop(early);
    assert!(first.ends().success());
    middle[0].is_served_by(&second);
    drop(middle);
    assert!(second.ends().success());
    late.iter_mut().for_each(|client| client.is_served_by(&third));
}

#[test]
fn one_without_clients_ends_at_once() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut first = Example::start(&daemon, "drain");
    let second = Example::start(&daemon, "drain");
    assert!(first.ends().success());
    Client::of(second.address()).is_served_by(&second);
}
