//! A server whose old process serves whom it has until the last one leaves, while the new one
//! takes who is new.
//!
//! Each line that a client says comes back with the id of the process that serves it. Start the
//! server again, and once more: each process ends when its last client leaves.
//!
//! `cargo run --example drain -- 127.0.0.1:7004`

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::thread;
use std::time::Duration;

use fdbroker::{Tag, Upgrader};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, pipe_with};

const TAG: Tag = Tag::new(4).unwrap();

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: drain ADDRESS")?;
    let upgrader = Upgrader::builder(TAG).start()?;
    let listener: TcpListener = upgrader.listen("drain", &*address)?;
    // Both processes wait for the same connection for a moment, and one of them gets it.
    listener.set_nonblocking(true)?;
    upgrader.ready()?;
    println!("listening on {}, process {}", listener.local_addr()?, process::id());

    // The pipe closes when the upgrade is complete.
    let (completed, open) = pipe_with(PipeFlags::CLOEXEC)?;
    thread::spawn(move || {
        if let Err(error) = upgrader.upgrade_complete() {
            eprintln!("no upgrade any more: {error}");
        }
        drop(open);
    });
    // The scope ends when the last client has left.
    thread::scope(|clients| {
        loop {
            let mut asked =
                [PollFd::new(&listener, PollFlags::IN), PollFd::new(&completed, PollFlags::IN)];
            retry_on_intr(|| poll(&mut asked, None))?;
            if !asked[1].revents().is_empty() {
                println!("no new clients any more");
                return Ok(());
            }
            match listener.accept() {
                Ok((stream, _)) => drop(clients.spawn(|| serve(stream))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    eprintln!("accept: {error}");
                    // No descriptor may be free: the next try would fail as well.
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
    })
}

fn serve(stream: TcpStream) {
    let mut lines = BufReader::new(&stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if writeln!(&stream, "{} {line}", process::id()).is_err() {
            return;
        }
    }
}
