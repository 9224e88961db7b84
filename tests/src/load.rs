//! Constant load on an HTTP server: some clients keep their connection, others connect again for
//! each request. Any failure fails the test, there is no second try.
//!
//! Requests are sent by the clock. A request's time is counted from when it was due. So a pause is
//! seen by all requests that were due in it, and not only by the first.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{PATIENCE, wait_until};

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// How many keep their connection, as long as the server does.
    pub staying: usize,
    /// How many connect again for each request.
    pub coming: usize,
    /// The time from a client's request to its next.
    pub every: Duration,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    results: Mutex<Results>,
}

/// The results.
#[derive(Debug, Default)]
pub struct Results {
    /// How long each request took.
    pub took: Vec<Duration>,
    /// The processes that answered, by what they said of themselves.
    pub servers: HashSet<String>,
    /// How many connections were made.
    pub connections: usize,
    /// What went wrong.
    failures: Vec<String>,
}

impl Load {
    /// Starts asking the server at `address`, which answers each GET with its process id.
    pub fn start(address: SocketAddr, clients: Clients) -> Self {
        let shared = Arc::new(Shared::default());
        let all = clients.staying + clients.coming;
        let client = |number| {
            let (shared, stays) = (shared.clone(), number < clients.staying);
            // Spread over the time between two requests.
            let begin = Instant::now() + clients.every * number as u32 / all as u32;
            thread::spawn(move || asks(address, stays, begin, clients.every, &shared))
        };
        let clients = (0..all).map(client).collect();
        Self { shared, clients }
    }

    /// Waits until a process has answered somebody.
    #[track_caller]
    pub fn is_served_by(&self, pid: u32) {
        let pid = pid.to_string();
        wait_until("the process answers, or a request fails", || {
            let results = self.shared.results.lock().unwrap();
            results.servers.contains(&pid) || !results.failures.is_empty()
        });
    }

    /// Ends it.
    ///
    /// # Panics
    /// When a request failed.
    #[track_caller]
    pub fn end(self) -> Results {
        self.shared.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let results = std::mem::take(&mut *self.shared.results.lock().unwrap());
        assert!(results.failures.is_empty(), "{:#?}", results.failures);
        results
    }
}

/// The time within which this part of the requests was answered; sorts them.
pub fn percentile(took: &mut [Duration], part: f64) -> Duration {
    took.sort_unstable();
    let rank = (took.len() as f64 * part).ceil() as usize;
    took[rank.clamp(1, took.len()) - 1]
}

/// One client, until the end or its first failure.
fn asks(address: SocketAddr, stays: bool, begin: Instant, every: Duration, shared: &Shared) {
    let mut due = begin;
    let mut kept = None;
    while !shared.ends.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let connects = kept.is_none();
        let outcome = ask(address, stays, &mut kept);
        let took = due.elapsed();
        let mut results = shared.results.lock().unwrap();
        results.connections += usize::from(connects);
        match outcome {
            Ok(server) => {
                results.took.push(took);
                results.servers.insert(server);
            }
            Err(error) => {
                let how = if connects { "new" } else { "kept" };
                results.failures.push(format!("on a {how} connection: {error}"));
                return;
            }
        }
        due += every;
    }
}

/// Sends one request; returns who answered, and keeps the connection if both sides want that.
fn ask(address: SocketAddr, stays: bool, kept: &mut Option<Kept>) -> io::Result<String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Kept::connect(address)?,
    };
    if !stays {
        return connection.ask_last();
    }
    let answer = connection.ask()?;
    if answer.closes {
        connection.ends()?;
    } else {
        *kept = Some(connection);
    }
    Ok(answer.body)
}

/// A connection that is kept from request to request.
#[derive(Debug)]
pub struct Kept(BufReader<TcpStream>);

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    /// Who answers.
    pub body: String,
    /// Whether the server says that it closes.
    pub closes: bool,
}

impl Kept {
    /// A new connection.
    ///
    /// # Errors
    /// As connect(2).
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// One request, after which there may be another.
    ///
    /// # Errors
    /// When the answer does not come, or is not a good one.
    pub fn ask(&mut self) -> io::Result<Answer> {
        self.0.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
        Answer::read(&mut self.0)
    }

    fn ask_last(mut self) -> io::Result<String> {
        let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        self.0.get_mut().write_all(request)?;
        let answer = Answer::read(&mut self.0)?;
        self.ends()?;
        Ok(answer.body)
    }

    /// The server closes, and says nothing more.
    fn ends(mut self) -> io::Result<()> {
        match self.0.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::other("more came than the answer")),
        }
    }
}

impl Answer {
    fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let status = line(stream)?;
        if status != "HTTP/1.1 200 OK" {
            return Err(io::Error::other(format!("the answer is {status:?}")));
        }
        let (mut length, mut closes) = (0, false);
        loop {
            let header = line(stream)?.to_ascii_lowercase();
            match header.split_once(": ") {
                None => break,
                Some(("content-length", value)) => {
                    length = value.parse().map_err(io::Error::other)?;
                }
                Some(("connection", value)) => closes = value == "close",
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).trim().to_owned();
        Ok(Self { body, closes })
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed in place of an answer")),
        _ => Ok(line.trim_end().to_owned()),
    }
}
