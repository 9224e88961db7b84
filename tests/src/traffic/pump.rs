//! Many ends of connections that send by the clock and read all the time.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::orders::Positions;
use super::stream::Stream;

/// The time from one part of the streams to the next.
const TICK: Duration = Duration::from_millis(10);
/// In how many parts they send, one after the other.
const PARTS: usize = 20;
/// How much each sends in its turn.
const BYTES: usize = 16;

/// Streams at work on a thread.
#[derive(Debug)]
pub struct Pump {
    shared: Arc<Mutex<Shared>>,
    thread: JoinHandle<()>,
}

/// What the thread works on.
#[derive(Debug)]
pub struct Shared {
    /// The streams.
    pub streams: Vec<Stream>,
    sends: bool,
    stops: bool,
    failures: Vec<String>,
}

impl Pump {
    /// Begins to read and to send.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn start(streams: Vec<Stream>) -> io::Result<Self> {
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, stream) in streams.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&ready, stream, data, epoll::EventFlags::IN)?;
        }
        let shared = Shared { streams, sends: true, stops: false, failures: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, &ready)
        });
        Ok(Self { shared, thread })
    }

    /// The streams, at rest as long as the result lives.
    pub fn streams(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Sends nothing more, or goes on.
    pub fn sends(&self, sends: bool) {
        self.streams().sends = sends;
    }

    /// How far they are, and what went wrong.
    #[must_use]
    pub fn positions(&self) -> Positions {
        let shared = self.streams();
        Positions {
            positions: shared.streams.iter().map(Stream::position).collect(),
            failures: shared.failures.clone(),
        }
    }

    /// Neither reads nor sends any more.
    pub fn stop(&mut self) {
        self.streams().stops = true;
        while !self.thread.is_finished() {
            thread::sleep(TICK);
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(shared: &Mutex<Shared>, ready: &OwnedFd) {
    let mut due = Instant::now();
    for part in (0..PARTS).cycle() {
        {
            let mut shared = lock(shared);
            if shared.stops {
                return;
            }
            shared.send(part);
        }
        // One that is late does not hurry.
        due = Instant::now().max(due + TICK);
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|it| !it.is_zero())
        {
            let numbers = wait(ready, left);
            lock(shared).receive(&numbers, ready);
        }
    }
}

/// Which streams can be read.
fn wait(ready: &OwnedFd, at_most: Duration) -> Vec<usize> {
    let time = Timespec::try_from(at_most).expect("a short time");
    let mut events = Vec::with_capacity(256);
    // A signal ends it early.
    let _ = epoll::wait(ready, rustix::buffer::spare_capacity(&mut events), Some(&time));
    events.iter().map(|event| event.data.u64() as usize).collect()
}

impl Shared {
    /// One part of the streams sends.
    fn send(&mut self, part: usize) {
        if !self.sends {
            return;
        }
        for number in (part..self.streams.len()).step_by(PARTS) {
            let sent = self.streams[number].send(BYTES);
            self.note(number, sent);
        }
    }

    fn receive(&mut self, numbers: &[usize], ready: &OwnedFd) {
        for number in numbers {
            let received = self.streams[*number].receive();
            if received.is_err() {
                // It would be ready for ever.
                let _ = epoll::delete(ready, &self.streams[*number]);
            }
            self.note(*number, received);
        }
    }

    fn note(&mut self, number: usize, outcome: io::Result<()>) {
        if let Err(error) = outcome
            && self.failures.len() < 20
        {
            self.failures.push(format!("connection {number}: {error}"));
        }
    }
}
