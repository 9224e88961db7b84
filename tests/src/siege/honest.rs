//! A user who asks by the clock on many connections, and looks at each answer.

use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fdbroker_wire::claim::Event;
use fdbroker_wire::many::{ManyAnswer, ManyRequest};
use fdbroker_wire::{Decoder, Index, Limits, Message, Tag};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::socket::connected;
use crate::{fixtures, request, sys};

/// When an answer is missing for so long, the broker hangs.
const HANG: Duration = Duration::from_secs(20);
/// How long a user waits who was told to pause, before it looks whether it is to go on.
const PAUSE: Duration = Duration::from_millis(20);
const TAG: i16 = 1;
/// The payloads of its slots, each with a file.
const ONE: &[u8] = b"this";
const OTHER: &[u8] = &[7; 500];

/// What one or several users saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// How long each answer on a connection that was there took, in microseconds.
    pub took: Vec<u32>,
    /// The same of the first answer on a new connection, its connect(2) included.
    pub joined: Vec<u32>,
    /// How long an answer of the bare server took.
    pub bare: Vec<u32>,
    /// How many requests went wrong.
    pub errors: usize,
    /// The first of them.
    pub first_error: Option<String>,
}

impl Results {
    /// Both together.
    pub fn and(mut self, mut other: Self) -> Self {
        self.took.append(&mut other.took);
        self.joined.append(&mut other.joined);
        self.bare.append(&mut other.bare);
        self.errors += other.errors;
        self.first_error = self.first_error.or(other.first_error);
        self
    }
}

/// Asks until standard input ends. When it is asked what it saw, it asks no more. It reports on
/// standard output as soon as everything has been answered, or that has taken too long. Otherwise a
/// user who gets no answer at all would not count.
pub fn run(path: &Path, connections: usize, every: Duration) {
    let results = Arc::new(Mutex::new(Results::default()));
    let (asks, waits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut user = User::new(path, connections, every, Arc::clone(&results));
    (user.asks, user.waits) = (Arc::clone(&asks), Arc::clone(&waits));
    println!("ready");
    let (path, asks_too, found) = (path.to_owned(), Arc::clone(&asks), Arc::clone(&results));
    std::thread::spawn(move || {
        super::bare::ask_for_ever(&path, every, &asks_too, |took| {
            found.lock().unwrap().bare.push(took);
        })
    });
    std::thread::spawn(move || user.ask_for_ever());
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        if line != "tell" {
            *results.lock().unwrap() = Results::default();
            asks.store(true, Ordering::SeqCst);
            continue;
        }
        waits.store(true, Ordering::SeqCst);
        asks.store(false, Ordering::SeqCst);
        while waits.load(Ordering::SeqCst) {
            std::thread::sleep(PAUSE);
        }
        let seen = std::mem::take(&mut *results.lock().unwrap());
        println!("{}", serde_json::to_string(&seen).expect("it can be written"));
        io::stdout().flush().expect("somebody listens");
    }
}

struct User {
    path: PathBuf,
    file: OwnedFd,
    every: Duration,
    connections: Vec<Connection>,
    results: Arc<Mutex<Results>>,
    /// Otherwise it pauses.
    asks: Arc<AtomicBool>,
    /// Whether somebody waits until everything has been answered, while it pauses.
    waits: Arc<AtomicBool>,
}

/// One connection, with a slot of its own.
struct Connection {
    socket: OwnedFd,
    decoder: Decoder<OwnedFd>,
    index: i32,
    step: u32,
    due: Instant,
    /// The socket that it goes on on, as soon as that is connected.
    coming: Option<Receiver<io::Result<OwnedFd>>>,
    /// What was asked when it was due, and is not answered.
    asked: Option<Asked>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Get,
    Add,
    Count,
    Many,
    Hello,
}

impl User {
    fn new(path: &Path, count: usize, every: Duration, results: Arc<Mutex<Results>>) -> Self {
        let uid = rustix::process::getuid().as_raw();
        let first = i32::try_from(uid % 1000 * 1000).expect("it is small");
        let now = Instant::now();
        let connections = (0..count).map(|number| {
            let socket = connected(path, None).expect("the broker accepts a connection");
            let index = first + i32::try_from(number).expect("so few");
            let spread = every * u32::try_from(number).unwrap() / u32::try_from(count).unwrap();
            Connection::new(socket, index, now + spread)
        });
        let connections = connections.collect();
        let (path, file) = (path.into(), fixtures::file_saying("load"));
        let (asks, waits) = (Arc::default(), Arc::default());
        Self { path, file, every, connections, results, asks, waits }
    }

    fn ask_for_ever(mut self) {
        loop {
            let (now, asks) = (Instant::now(), self.asks.load(Ordering::SeqCst));
            for at in 0..self.connections.len() {
                let connection = &mut self.connections[at];
                if !asks && connection.asked.is_none() {
                    connection.due = connection.due.max(now + PAUSE);
                    // Or it would stay beside the one that it is to replace, and be counted.
                    connection.coming = None;
                }
                if connection.asked.is_none() && connection.due <= now {
                    self.ask(at);
                } else if connection.asked.is_some() && now > connection.due + HANG {
                    self.fail(at, "no answer came");
                }
            }
            for at in self.readable() {
                self.read(at);
            }
            if !asks && self.connections.iter().all(|connection| connection.asked.is_none()) {
                self.waits.store(false, Ordering::SeqCst);
            }
        }
    }

    fn ask(&mut self, at: usize) {
        let (file, first) = (self.file.as_fd(), self.connections[0].index);
        let connection = &mut self.connections[at];
        if connection.is_to_be_renewed() {
            match connection.renewed(&self.path) {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => return self.fail(at, &format!("connect: {error}")),
            }
        }
        if let Err(error) = self.connections[at].ask(file, first) {
            self.fail(at, &format!("send: {error}"));
        }
    }

    /// Waits until something can be read, or is due.
    fn readable(&self) -> Vec<usize> {
        let waiting =
            |connection: &&Connection| connection.asked.is_none() && connection.coming.is_none();
        let due = self.connections.iter().filter(waiting).map(|connection| connection.due).min();
        let time = due.map_or(HANG, |due| due.saturating_duration_since(Instant::now()));
        let comes = self.connections.iter().any(|connection| connection.coming.is_some());
        let most = Duration::from_millis(if comes { 2 } else { 100 });
        let time = Timespec::try_from(time.min(most)).expect("it is short");
        let mut polled: Vec<_> = self
            .connections
            .iter()
            .map(|connection| PollFd::new(&connection.socket, PollFlags::IN))
            .collect();
        // Interrupted, it is as if the time were up.
        let _ = poll(&mut polled, Some(&time));
        let ready = polled.iter().enumerate().filter(|(_, one)| !one.revents().is_empty());
        ready.map(|(at, _)| at).collect()
    }

    fn read(&mut self, at: usize) {
        match self.connections[at].answer() {
            Ok(None) => {}
            Ok(Some(Ok(()))) => {
                let connection = &mut self.connections[at];
                let took = connection.due.elapsed().as_micros();
                let joined = connection.is_to_be_renewed();
                connection.is_answered(self.every);
                let took = u32::try_from(took).unwrap_or(u32::MAX);
                let mut results = self.results.lock().unwrap();
                if joined { &mut results.joined } else { &mut results.took }.push(took);
            }
            Ok(Some(Err(other))) => self.fail(at, &format!("another answer: {other}")),
            Err(error) => self.fail(at, &format!("receive: {error}")),
        }
    }

    /// Notes an error, and goes on on a new connection.
    fn fail(&mut self, at: usize, what: &str) {
        let connection = &self.connections[at];
        let text = format!("slot {}: {:?}: {what}", connection.index, connection.asked);
        let results = Results { errors: 1, first_error: Some(text), ..Results::default() };
        let mut all = self.results.lock().unwrap();
        *all = std::mem::take(&mut *all).and(results);
        drop(all);
        let (index, due) = (connection.index, Instant::now() + self.every);
        match connected(&self.path, None) {
            Ok(socket) => self.connections[at] = Connection::new(socket, index, due),
            Err(_) => self.connections[at].gives_up(due),
        }
    }
}

impl Connection {
    fn new(socket: OwnedFd, index: i32, due: Instant) -> Self {
        let decoder = Decoder::new(Limits::PEER);
        Self { socket, decoder, index, step: 0, due, coming: None, asked: None }
    }

    fn is_to_be_renewed(&self) -> bool {
        self.step % 20 == 19
    }

    /// Goes on on another socket, as soon as that is connected; `None` until then. This user's
    /// other connections go on at the same time: connect(2) waits if the backlog is full.
    fn renewed(&mut self, path: &Path) -> Option<io::Result<()>> {
        let coming = self.coming.get_or_insert_with(|| connecting(path));
        let socket = match coming.try_recv() {
            Ok(Ok(socket)) => socket,
            Err(TryRecvError::Empty) => return None,
            Ok(Err(error)) => return Some(Err(error)),
            Err(error) => return Some(Err(io::Error::other(error))),
        };
        (self.socket, self.coming) = (socket, None);
        self.decoder = Decoder::new(Limits::PEER);
        Some(Ok(()))
    }

    fn ask(&mut self, file: BorrowedFd<'_>, first: i32) -> io::Result<()> {
        let place = (TAG, self.index);
        let (asked, bytes) = match self.step % 50 {
            // At the first, and on each new connection.
            _ if self.step.is_multiple_of(20) => (Asked::Hello, request::hello()),
            1 | 21 => (Asked::Add, request::add(place, 7, ONE)),
            10 => (Asked::Add, request::add(place, 7, OTHER)),
            30 => (Asked::Count, request::tag(TAG)),
            42 => (Asked::Many, many(first)),
            _ => (Asked::Get, request::get(place)),
        };
        let brought = if asked == Asked::Add { vec![file] } else { Vec::new() };
        self.asked = Some(asked);
        sys::send_all(&self.socket, &bytes, &brought)
    }

    /// Waits for no answer any more, and asks again when that is due.
    fn gives_up(&mut self, due: Instant) {
        (self.asked, self.due) = (None, due);
    }

    /// Returns the right answer, or what is wrong with it; `None` if none has come.
    fn answer(&mut self) -> io::Result<Option<Result<(), String>>> {
        let received = sys::receive(&self.socket, 1 << 17)?;
        if received.bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.decoder.feed(&received.bytes, received.descriptors, received.truncated);
        loop {
            match self.decoder.message() {
                None => return Ok(None),
                Some(Ok(Message::Extended(event))) if Event::is(&event) => {}
                Some(Ok(message)) => return Ok(Some(self.judge(message))),
                Some(Err(fault)) => return Err(io::Error::other(fault.reason)),
            }
        }
    }

    fn judge(&self, message: Message<OwnedFd>) -> Result<(), String> {
        let right = match (self.asked, message) {
            (Some(Asked::Get), Message::Add(add)) => {
                add.descriptor.is_some() && [ONE, OTHER].contains(&&*add.payload)
            }
            (Some(Asked::Add), Message::Reply(reply)) if reply.rc == 0 => true,
            (_, Message::Reply(reply)) => return Err(format!("{reply:?}")),
            (Some(Asked::Count), Message::Info(_)) => true,
            (Some(Asked::Many), Message::Extended(message)) => {
                ManyAnswer::from_extended(message).is_ok_and(|answer| is_complete(&answer))
            }
            (Some(Asked::Hello), Message::Hello(hello)) => hello.key != 0,
            _ => false,
        };
        if right { Ok(()) } else { Err("not what was asked for".to_owned()) }
    }

    fn is_answered(&mut self, every: Duration) {
        self.asked = None;
        self.step += 1;
        self.due = (self.due + every).max(Instant::now());
    }
}

/// Whether each of the slots that are this user's is there; the last may be answered later.
fn is_complete(answer: &ManyAnswer<OwnedFd>) -> bool {
    match answer {
        ManyAnswer::Got { outcomes, .. } => outcomes.iter().all(Result::is_ok),
        ManyAnswer::Done { .. } => false,
    }
}

fn connecting(path: &Path) -> Receiver<io::Result<OwnedFd>> {
    let (tell, connected_at_last) = channel();
    let path = path.to_owned();
    std::thread::spawn(move || tell.send(connected(&path, None)));
    connected_at_last
}

fn many(first: i32) -> Vec<u8> {
    let tag = Tag::new(TAG).expect("a tag");
    let indices = (first..first + 20).filter_map(Index::new).collect();
    let request = ManyRequest::<()>::Get { tag, indices, take: false };
    Message::Extended(request.into_extended()).to_bytes()
}
