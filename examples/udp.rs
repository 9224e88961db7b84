//! A UDP server whose socket is handed on, with every datagram that waits in its buffer.
//!
//! The socket is the same one all the time: what has come and was not read yet lies there until
//! the new process reads it. What the old one has read, it has answered.
//!
//! `cargo run --example udp -- 127.0.0.1:7006`, then `nc -u 127.0.0.1 7006`.

use std::error::Error;
use std::net::SocketAddr;
use std::process;

use fdbroker::{Tag, Upgrader};
use tokio::net::UdpSocket;

const TAG: Tag = Tag::new(6).unwrap();

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args().nth(1).ok_or("usage: udp ADDRESS")?.parse()?;
    let upgrader = Upgrader::builder(TAG).start()?;
    let socket: std::net::UdpSocket = upgrader.listen("udp", address)?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    upgrader.ready()?;
    println!("listening on {}, process {}", socket.local_addr()?, process::id());

    let mut completed = tokio::task::spawn_blocking(move || upgrader.upgrade_complete());
    let mut datagram = [0; 65536];
    loop {
        tokio::select! {
            // Once another process is ready, this one reads no more.
            biased;
            completed = &mut completed => return Ok(completed??),
            read = socket.recv_from(&mut datagram) => {
                let (length, from) = read?;
                let head = format!("{} ", process::id());
                let answer = [head.as_bytes(), &datagram[..length]].concat();
                if let Err(error) = socket.send_to(&answer, from).await {
                    eprintln!("to {from}: {error}");
                }
            }
        }
    }
}
