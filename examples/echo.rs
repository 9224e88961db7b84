//! An echo server that may be killed at any moment: started again, it goes on with the same
//! connections, and no byte is missing or doubled.
//!
//! It never has a byte in its own memory. splice(2) moves them from the socket into a pipe, and
//! from the pipe back into the socket: they are in one of the two, both are the kernel's, and the
//! broker holds both. A connection that is lost is one whose client was not yet echoed anything.
//!
//! `cargo run --example echo -- 127.0.0.1:7001`

use std::collections::HashMap;
use std::error::Error;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::{env, io, thread};

use fdbroker::{Broker, Index, NewDeposit, Slot, Tag};
use rustix::io::ioctl_fionread;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

const TAG: Tag = Tag::new(1).unwrap();
const LISTENER: Slot = Slot::new(1, 0).unwrap();
/// Connection k has the slots 3k, 3k + 1 and 3k + 2, with k from 1.
const EACH: i32 = 3;
const AT_ONCE: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("usage: echo ADDRESS")?;
    let mut broker = Broker::connect()?;
    let listener = listener(&mut broker, &address)?;
    let left = Connection::left_behind(&mut broker)?;
    println!("listening on {}, with {} connections", listener.local_addr()?, left.len());

    let mut next = left.keys().max().unwrap_or(&0) + 1;
    let broker = Arc::new(Mutex::new(broker));
    for (number, connection) in left {
        serve(number, connection, &broker);
    }
    loop {
        let (socket, _) = listener.accept()?;
        let connection = Connection::new(socket.into())?;
        connection.keep(number_slots(next), &mut broker.lock().expect("no thread panics"))?;
        serve(next, connection, &broker);
        next += 1;
    }
}

/// The socket of the process before this one, or a new one.
fn listener(broker: &mut Broker, address: &str) -> Result<TcpListener, Box<dyn Error>> {
    match broker.get(LISTENER) {
        Ok(deposit) => Ok(deposit.descriptor.ok_or("the listener's slot has no socket")?.into()),
        Err(fdbroker::Error::Absent { .. }) => {
            let listener = TcpListener::bind(address)?;
            broker.add(LISTENER, Some(listener.as_fd()), b"")?;
            Ok(listener)
        }
        Err(error) => Err(error.into()),
    }
}

/// Echoes on a thread of its own, until the client has said all.
fn serve(number: i32, connection: Connection, broker: &Arc<Mutex<Broker>>) {
    let broker = broker.clone();
    thread::spawn(move || {
        if let Err(error) = connection.echo() {
            eprintln!("connection {number}: {error}");
        }
        if let Err(error) =
            broker.lock().expect("no thread panics").del_many(TAG, &number_slots(number))
        {
            eprintln!("connection {number} stays with the broker: {error}");
        }
    });
}

fn number_slots(number: i32) -> [Index; EACH as usize] {
    [0, 1, 2].map(|part| Index::new(number * EACH + part).expect("fewer than 2³¹ slots"))
}

/// A client's socket, and the two ends of the pipe beside it.
struct Connection {
    socket: OwnedFd,
    output: OwnedFd,
    input: OwnedFd,
}

impl Connection {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { socket, output, input })
    }

    /// What the process before this one was serving, by number.
    fn left_behind(broker: &mut Broker) -> Result<HashMap<i32, Self>, Box<dyn Error>> {
        let used = broker.list(Some(TAG))?.into_iter().map(|entry| entry.slot.index.get() / EACH);
        let mut found = HashMap::new();
        for number in used.filter(|number| *number > 0) {
            let slots = broker.get_many(TAG, &number_slots(number))?;
            let descriptors = slots.into_iter().filter_map(|(_, slot)| slot.ok()?.descriptor);
            // Three, unless the process before this one was killed while it deposited them.
            match <[OwnedFd; 3]>::try_from(descriptors.collect::<Vec<_>>()) {
                Ok([socket, output, input]) => {
                    found.insert(number, Self { socket, output, input });
                }
                Err(_) => drop(broker.del_many(TAG, &number_slots(number))?),
            }
        }
        Ok(found)
    }

    fn keep(&self, slots: [Index; 3], broker: &mut Broker) -> Result<(), fdbroker::Error> {
        let descriptors = [&self.socket, &self.output, &self.input].map(|it| Some(it.as_fd()));
        let deposits = std::iter::zip(slots, descriptors).map(|(index, descriptor)| NewDeposit {
            index,
            descriptor,
            payload: b"",
        });
        broker.add_many(TAG, &deposits.collect::<Vec<_>>())?.into_iter().collect()
    }

    fn echo(&self) -> io::Result<()> {
        let (flags, socket) = (SpliceFlags::empty(), &self.socket);
        loop {
            // At first, this is what the process before this one could not write any more.
            while ioctl_fionread(&self.output)? > 0 {
                splice(&self.output, None, socket, None, AT_ONCE, flags)?;
            }
            if splice(socket, None, &self.input, None, AT_ONCE, flags)? == 0 {
                return Ok(());
            }
        }
    }
}
