//! A server that counts on each connection, and is upgraded in the middle of it: no number is
//! missing or doubled.
//!
//! Each line that a client says comes back with the next number before it. Start the server again: the
//! old process stops counting, and hands on each connection. With it go its next number and the bytes of
//! a line that it has read but not answered. Then it releases. If the new one fails, it goes on itself.
//!
//! `cargo run --example counter -- 127.0.0.1:7003`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use fdbroker::upgrader::{ConnectionState, Happening};
use fdbroker::{Mode, Tag, UpgradeError, Upgrader};
use rustix::event::{PollFd, PollFlags, poll};

const TAG: Tag = Tag::new(3).unwrap();
const LISTENER: &str = "listener";

struct Counter {
    stream: TcpStream,
    last: u64,
    begun: Vec<u8>,
}

struct Server {
    upgrader: Upgrader,
    /// By name. Who has locked it has the whole server at rest.
    counters: Mutex<Counters>,
}

type Counters = BTreeMap<String, Counter>;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: counter ADDRESS")?;
    let upgrader = Upgrader::builder(TAG).mode(Mode::Quiesced).start()?;
    let listener: TcpListener = upgrader.listen(LISTENER, &*address)?;
    // Another process may be quicker to accept.
    listener.set_nonblocking(true)?;
    let mut inherited = Vec::new();
    for name in upgrader.names().into_iter().filter(|name| name != LISTENER) {
        if let Some((stream, state)) = upgrader.connection(&name)? {
            let last = u64::from_ne_bytes(state.extra.as_slice().try_into()?);
            inherited.push((name, Counter { stream, last, begun: state.buffered }));
        }
    }
    // Until here the old process may still have to go on: not a byte is read before.
    upgrader.ready()?;
    let server = Arc::new(Server { upgrader, counters: Mutex::default() });
    for (name, counter) in inherited {
        // From here on what was handed on is out of date: after a crash it would count twice.
        server.upgrader.remove(&name)?;
        server.serve(name, counter, &mut server.rest())?;
    }
    println!("listening on {}", listener.local_addr()?);

    let accepting = server.clone();
    thread::spawn(move || accepting.accept(&listener).expect("connections can be accepted"));
    let mut rest = None;
    loop {
        match server.upgrader.next()? {
            Happening::Claimed(_) => {
                drop(rest.take());
                rest = Some(server.hand_on()?);
            }
            Happening::Withdrawn => {
                for name in rest.take().iter().flat_map(|rest| rest.keys()) {
                    server.upgrader.remove(name)?;
                }
            }
            // What a hand-over had left, which is at its end with that.
            Happening::Forgotten => {}
            // At rest to the end: were the lock given back, a thread might go on.
            Happening::Completed => std::process::exit(0),
            other => return Err(format!("{other:?}").into()),
        }
    }
}

impl Server {
    /// Comes to rest, brings what is deposited up to date, and lets the claimant have it.
    fn hand_on(&self) -> Result<MutexGuard<'_, Counters>, UpgradeError> {
        let rest = self.rest();
        for (name, Counter { stream, last, begun }) in &*rest {
            let state = ConnectionState::default().buffered(&**begun).extra(last.to_ne_bytes());
            self.upgrader.store_connection(name, stream, state)?;
        }
        match self.upgrader.release() {
            // It has just left, and that is what happens next.
            Err(UpgradeError::Unclaimed { .. }) => Ok(rest),
            released => released.map(|()| rest),
        }
    }

    fn rest(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().expect("no thread panics")
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        loop {
            poll(&mut [PollFd::new(listener, PollFlags::IN)], None)?;
            let mut counters = self.rest();
            let Ok((stream, peer)) = listener.accept() else { continue };
            stream.set_write_timeout(Some(Duration::from_secs(1)))?;
            let counter = Counter { stream, last: 0, begun: Vec::new() };
            self.serve(peer.to_string(), counter, &mut counters)?;
        }
    }

    fn serve(
        self: &Arc<Self>,
        name: String,
        counter: Counter,
        counters: &mut Counters,
    ) -> io::Result<()> {
        let (server, waits) = (self.clone(), counter.stream.try_clone()?);
        counters.insert(name.clone(), counter);
        thread::spawn(move || {
            // It waits without taking a byte, and acts when the server need not rest.
            while waits.peek(&mut [0]).is_ok_and(|length| length > 0) {
                let mut counters = server.rest();
                if counters.get_mut(&name).is_none_or(|counter| counter.go_on().is_err()) {
                    break;
                }
            }
            server.rest().remove(&name);
        });
        Ok(())
    }
}

impl Counter {
    fn go_on(&mut self) -> io::Result<()> {
        let mut bytes = [0; 1024];
        let length = self.stream.read(&mut bytes)?;
        self.begun.extend(&bytes[..length]);
        let mut answer = Vec::new();
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            self.last += 1;
            write!(answer, "{} ", self.last)?;
            answer.extend(self.begun.drain(..=end));
        }
        self.stream.write_all(&answer)
    }
}
