//! A chat of two and two that outlives its own crash: started again, it knows who is connected,
//! and who is whose partner.
//!
//! Each client has a slot. It holds the client's socket, and as its payload where the partner is.
//! What a client says is passed on as it is read; until then it is safe in the kernel.
//!
//! `cargo run --example chat -- 127.0.0.1:7005`, and twice `nc 127.0.0.1 7005`; say `/crash`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use fdbroker::{Broker, Index, Slot, Tag};
use rustix::event::{PollFd, PollFlags, poll};

const TAG: Tag = Tag::new(5).unwrap();
const LISTENER: i32 = 0;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

struct Client {
    stream: TcpStream,
    /// Where the partner is; nobody has slot 0.
    partner: i32,
}

struct Chat {
    broker: Broker,
    listener: TcpListener,
    /// By the index of their slots, from 1.
    clients: BTreeMap<i32, Client>,
}

fn main() -> Outcome {
    let address = std::env::args().nth(1).ok_or("usage: chat ADDRESS")?;
    let mut chat = Chat::restore(Broker::connect()?, &address)?;
    println!("listening on {}, with {} clients", chat.listener.local_addr()?, chat.clients.len());
    loop {
        for client in chat.readable()? {
            match client {
                LISTENER => chat.join()?,
                _ => chat.hear(client)?,
            }
        }
    }
}

impl Chat {
    fn restore(mut broker: Broker, address: &str) -> Outcome<Self> {
        let used: Vec<_> = broker.list(Some(TAG))?.iter().map(|entry| entry.slot.index).collect();
        let (mut listener, mut clients) = (None, BTreeMap::new());
        for (index, deposit) in broker.get_many(TAG, &used)? {
            let deposit = deposit?;
            let socket = deposit.descriptor.ok_or("a slot without a socket")?;
            match <[u8; 4]>::try_from(deposit.payload) {
                Err(_) => listener = Some(TcpListener::from(socket)),
                Ok(partner) => {
                    let partner = i32::from_ne_bytes(partner);
                    clients.insert(index.get(), Client { stream: socket.into(), partner });
                }
            }
        }
        // A kill between the two deposits of a pair leaves one that does not know it yet.
        let pairs: Vec<_> = clients.iter().map(|(index, it)| (*index, it.partner)).collect();
        for (index, partner) in pairs {
            clients.entry(partner).and_modify(|it| it.partner = index);
        }
        let listener = listener.map_or_else(|| TcpListener::bind(address), Ok)?;
        broker.add(slot(LISTENER), Some(listener.as_fd()), b"")?;
        Ok(Self { broker, listener, clients })
    }

    /// Waits; returns the slots of the clients that have something to say.
    fn readable(&self) -> Outcome<Vec<i32>> {
        let mut asked = vec![PollFd::new(&self.listener, PollFlags::IN)];
        asked.extend(self.clients.values().map(|it| PollFd::new(&it.stream, PollFlags::IN)));
        rustix::io::retry_on_intr(|| poll(&mut asked, None))?;
        let all = std::iter::once(LISTENER).chain(self.clients.keys().copied());
        let ready = all.zip(asked).filter(|(_, asked)| !asked.revents().is_empty());
        Ok(ready.map(|(index, _)| index).collect())
    }

    fn join(&mut self) -> Outcome {
        let (stream, _) = self.listener.accept()?;
        // A client that does not read must not stop the others.
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        let index = (1..).find(|index| !self.clients.contains_key(index)).expect("a free slot");
        let alone = self.clients.iter().find(|(_, client)| client.partner == 0);
        let partner = alone.map_or(0, |(index, _)| *index);
        self.clients.insert(index, Client { stream, partner });
        self.meet(index, partner)?;
        self.meet(partner, index)
    }

    /// Tells a client its new partner, 0 for none.
    fn meet(&mut self, index: i32, partner: i32) -> Outcome {
        let Some(client) = self.clients.get_mut(&index) else { return Ok(()) };
        client.partner = partner;
        self.keep(index)?;
        self.say(index, if partner == 0 { b"* you are alone\n" } else { b"* you are two\n" });
        Ok(())
    }

    fn hear(&mut self, index: i32) -> Outcome {
        let client = self.clients.get_mut(&index).expect("it was readable");
        let mut words = [0; 1024];
        match client.stream.read(&mut words) {
            Ok(0) | Err(_) => return self.leave(index),
            Ok(length) if words.starts_with(b"/crash") => crash(length),
            Ok(length) => {
                let partner = client.partner;
                self.say(partner, &words[..length]);
            }
        }
        Ok(())
    }

    fn say(&mut self, index: i32, words: &[u8]) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        if client.stream.write_all(words).is_err() {
            // It will be heard that it has left; if it has already, that is no news.
            let _ = client.stream.shutdown(Shutdown::Both);
        }
    }

    fn leave(&mut self, index: i32) -> Outcome {
        let gone = self.clients.remove(&index).expect("it was there");
        self.meet(gone.partner, 0)?;
        Ok(self.broker.del(slot(index))?)
    }

    /// Deposits a client as it is now.
    fn keep(&mut self, index: i32) -> Outcome {
        let Client { stream, partner } = &self.clients[&index];
        Ok(self.broker.add(slot(index), Some(stream.as_fd()), &partner.to_ne_bytes())?)
    }
}

fn slot(index: i32) -> Slot {
    Slot { tag: TAG, index: Index::new(index).expect("slots are counted from 0") }
}

/// A bug, as this example needs one: it writes where no memory is.
fn crash(length: usize) {
    // SAFETY: none; the kernel ends the process with SIGSEGV.
    unsafe { std::ptr::without_provenance_mut::<usize>(8).write_volatile(length) };
}
