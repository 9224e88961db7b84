//! The chat server of `examples/`: it crashes, and the chat goes on.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;

use fdbroker_tests::{Daemon, Example, PATIENCE, fixtures};
use rustix::process::Signal;

/// The tag of the example.
const TAG: i16 = 5;

struct Client {
    says: TcpStream,
    hears: BufReader<TcpStream>,
}

impl Client {
    fn of(address: SocketAddr) -> Self {
        let says = TcpStream::connect(address).unwrap();
        says.set_read_timeout(Some(PATIENCE)).unwrap();
        let hears = BufReader::new(says.try_clone().unwrap());
        Self { says, hears }
    }

    /// Two that have found each other.
    #[track_caller]
    fn pair(address: SocketAddr) -> [Self; 2] {
        let mut one = Self::of(address);
        one.hears("* you are alone");
        let mut other = Self::of(address);
        one.hears("* you are two");
        other.hears("* you are two");
        [one, other]
    }

    fn says(&mut self, words: &str) {
        self.says.write_all(format!("{words}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.hears.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{expected}\n"));
    }
}

/// Both ways.
#[track_caller]
fn chat([one, other]: &mut [Client; 2], words: &str) {
    one.says(words);
    other.hears(words);
    other.says(&format!("{words}?"));
    one.hears(&format!("{words}?"));
}

#[test]
fn it_crashes_and_is_started_again_and_everybody_goes_on_with_the_same_partner() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut server = Example::start(&daemon, "chat");
    let address = server.address();
    let mut first = Client::pair(address);
    let mut second = Client::pair(address);
    let mut alone = Client::of(address);
    alone.hears("* you are alone");

    for round in 0..3 {
        chat(&mut first, &format!("one {round}"));
        chat(&mut second, &format!("two {round}"));
        first[0].says("/crash");
        assert_eq!(server.ends().signal(), Some(Signal::SEGV.as_raw()));
        second[1].says("said while nobody was there");
        server = Example::start(&daemon, "chat");
        assert_eq!(server.says("listening on "), format!("{address}, with 5 clients"));
        second[0].hears("said while nobody was there");
    }
    chat(&mut first, "one");
    chat(&mut second, "two");

    // The one that was alone is known to be.
    let mut comes = Client::of(address);
    comes.hears("* you are two");
    alone.hears("* you are two");
    chat(&mut [alone, comes], "three");
}

#[test]
fn who_left_while_it_was_dead_has_left_its_partner_alone() {
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let server = Example::start(&daemon, "chat");
    let address = server.address();
    let [leaves, mut stays] = Client::pair(address);
    server.kill();
    drop(leaves);

    let _server = Example::start(&daemon, "chat");
    stays.hears("* you are alone");
    let mut comes = Client::of(address);
    comes.hears("* you are two");
    stays.hears("* you are two");
    chat(&mut [stays, comes], "hello");
}
