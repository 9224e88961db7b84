//! A service that deposits its connections, and takes them back when it starts again.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use fdbroker::{
    Broker, Connector, Deposit, Error, Found, Index, Mode, NewDeposit, Slot, State, Tag, What,
};
use rustix::net::sockopt::socket_cookie;

use super::numbered::Way;
use super::orders::{Checked, Deposited, answer, next};
use super::pump::Pump;
use super::stream::{Position, Stream};
use crate::{PATIENCE, sys};

/// The tag of its connections, and what the policy calls it.
pub const TAG: i16 = 10;
/// The name.
pub const NAME: &str = "connections";

/// What a client sends before the numbered bytes: which connection it is.
const HEAD: usize = 4;
/// Longer than it takes to be ready.
const CLAIM: Duration = Duration::from_secs(60);

/// How it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With new connections.
    New,
    /// With those of one that was told to stop.
    AfterStop,
    /// With those of one that was killed.
    AfterKill,
}

impl Start {
    /// Its word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::AfterStop => "after-stop",
            Self::AfterKill => "after-kill",
        }
    }

    /// What a word says.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::New, Self::AfterStop, Self::AfterKill];
        all.into_iter().find(|start| start.word() == word)
    }
}

/// Serves, and does what it is told until the test has gone.
pub fn run(broker: &Path, connections: u32, start: Start) {
    let mut service = Service::start(broker, connections, start);
    answer(&connections);
    while let Some(order) = next() {
        match order.as_str() {
            "hold" => service.pump.sends(false),
            "go" => service.pump.sends(true),
            "positions" => {}
            "check" => {
                answer(&service.check());
                continue;
            }
            "stop" => {
                service.pump.stop();
                service.deposit();
                return answer(&service.pump.positions());
            }
            other => panic!("the service knows no order {other}"),
        }
        answer(&service.pump.positions());
    }
}

struct Service {
    broker: Broker,
    pump: Pump,
}

impl Service {
    fn start(broker: &Path, connections: u32, start: Start) -> Self {
        let connector = Connector::new().socket(broker).retry_for(PATIENCE);
        let mut broker = connector.connect().expect("the broker serves");
        again_and_again(|| own(&mut broker));
        let streams = match start {
            Start::New => accept(connections).expect("the clients connect"),
            Start::AfterStop | Start::AfterKill => take_back(&mut broker, connections, start),
        };
        let pump = Pump::start(streams).expect("the streams are watched");
        let mut service = Self { broker, pump };
        if start == Start::New {
            service.deposit();
        }
        service
    }

    /// Deposits each connection with its position.
    fn deposit(&mut self) {
        let streams = self.pump.streams();
        let payloads: Vec<String> = (0..)
            .zip(&streams.streams)
            .map(|(number, it)| payload(number, it.position()))
            .collect();
        let deposits = (0..).zip(&streams.streams).zip(&payloads);
        let deposits: Vec<NewDeposit<'_>> = deposits
            .map(|((number, stream), payload)| NewDeposit {
                index: index(number),
                descriptor: Some(stream.as_fd()),
                payload: payload.as_bytes(),
            })
            .collect();
        let added = self.broker.add_many(tag(), &deposits).expect("the broker takes them");
        added.into_iter().for_each(|added| added.expect("the broker takes each"));
    }

    /// Owns its tag, and looks at each deposit: it is there by name, and the connection that it was.
    fn check(&mut self) -> Checked {
        again_and_again(|| match self.broker.claim(tag(), Mode::Again, CLAIM)?.state {
            State::Owned => Ok(()),
            other => panic!("the claim of the own tag is {other:?}"),
        });
        let streams = self.pump.streams();
        let (mut deposits, mut failures) = (Vec::new(), Vec::new());
        let names = (0..).zip(&streams.streams);
        for (number, _) in names.clone() {
            let found = self.broker.find(&format!("{NAME}/{number}")).expect("the name is known");
            assert_eq!(found, Found::Slot(slot(number)));
        }
        for ((number, stream), deposit) in names.zip(get(&mut self.broker, streams.streams.len())) {
            let descriptor = deposit.descriptor.expect("it has a descriptor");
            if !sys::same_description(stream, &descriptor).expect("they can be compared") {
                failures.push(format!("connection {number} is another one"));
            }
            deposits.push(Deposited {
                cookie: socket_cookie(&descriptor).expect("it is a socket"),
                payload: String::from_utf8(deposit.payload).expect("it is a text"),
            });
        }
        Checked { deposits, failures }
    }
}

/// Does something that has to do with claims until the connection to the broker lasts for so long.
fn again_and_again(mut request: impl FnMut() -> Result<(), Error>) {
    let end = Instant::now() + PATIENCE;
    loop {
        match request() {
            Ok(()) => return,
            Err(error) if error.is_lost() && Instant::now() < end => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Owns the tag, once the service before has gone.
fn own(broker: &mut Broker) -> Result<(), Error> {
    let mut state = broker.claim(tag(), Mode::Live, CLAIM)?.state;
    loop {
        match state {
            State::Owned => return Ok(()),
            State::Granted => return broker.ready(tag()),
            State::Waiting => {}
        }
        let event = broker.event(Some(PATIENCE))?.expect("the service before has gone");
        match event.what {
            What::Granted => state = State::Granted,
            What::Owned => state = State::Owned,
            _ => {}
        }
    }
}

/// Says where it listens, and accepts each client.
fn accept(connections: u32) -> io::Result<Vec<Stream>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    answer(&listener.local_addr()?);
    let mut streams = Vec::new();
    for _ in 0..connections {
        let (mut socket, _) = listener.accept()?;
        let mut head = [0; HEAD];
        socket.read_exact(&mut head)?;
        let number = u32::from_ne_bytes(head);
        streams.push((number, Stream::new(socket, number, Way::Out, Position::default())?));
    }
    streams.sort_by_key(|(number, _)| *number);
    Ok(streams.into_iter().map(|(_, stream)| stream).collect())
}

/// The connections of the service before, where the kernel says that they are.
fn take_back(broker: &mut Broker, connections: u32, start: Start) -> Vec<Stream> {
    let deposits = (0..).zip(get(broker, connections as usize));
    let take_back = |(number, deposit): (u32, Deposit)| {
        let socket = deposit.descriptor.expect("it has a descriptor");
        let position = position(&socket);
        if start == Start::AfterStop {
            assert_eq!(payload(number, position).as_bytes(), deposit.payload, "{number}");
        }
        let stream = Stream::new(TcpStream::from(socket), number, Way::Out, position);
        stream.expect("it is a socket")
    };
    deposits.map(take_back).collect()
}

fn position(socket: &OwnedFd) -> Position {
    let progress = sys::progress(socket).expect("it is a connection");
    Position { sent: progress.written, received: progress.read - HEAD as u64 }
}

fn get(broker: &mut Broker, connections: usize) -> Vec<Deposit> {
    let indices: Vec<Index> = (0..).take(connections).map(index).collect();
    let deposits = broker.get_many(tag(), &indices).expect("the broker has them");
    deposits.into_iter().map(|(_, deposit)| deposit.expect("the broker has each")).collect()
}

/// What is deposited with a connection; of another length for each of some.
fn payload(number: u32, position: Position) -> String {
    let Position { sent, received } = position;
    let rest = "x".repeat(number as usize % 7 * 50);
    format!("{number} sent={sent} received={received} {rest}")
}

fn tag() -> Tag {
    Tag::new(TAG).expect("it is a tag")
}

fn index(number: u32) -> Index {
    i32::try_from(number).ok().and_then(Index::new).expect("it is an index")
}

/// The slot of a connection.
fn slot(number: u32) -> Slot {
    Slot { tag: tag(), index: index(number) }
}
