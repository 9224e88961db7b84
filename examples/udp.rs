//! A UDP server whose socket is handed on, with every datagram that waits in its buffer.
//!
//! The socket is the same one all the time: what has come and was not read yet lies there until
//! the new process reads it. What the old one has read, it has answered.
//!
//! `cargo run --example udp -- 127.0.0.1:7006`, then `nc -u 127.0.0.1 7006`.

use std::error::Error;
use std::net::SocketAddr;
use std::process;

use fdbroker::{Tag, tokio::Upgrader};
use tokio::net::UdpSocket;

const TAG: Tag = Tag::new(6).unwrap();

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args().nth(1).ok_or("usage: udp ADDRESS")?.parse()?;
    let upgrader = Upgrader::start(fdbroker::Upgrader::builder(TAG)).await?;
    let socket: UdpSocket = upgrader.listen("udp", address).await?;
    upgrader.ready().await?;
    println!("listening on {}, process {}", socket.local_addr()?, process::id());

    let mut datagram = [0; 65536];
    loop {
        tokio::select! {
            // Once another process is ready, this one reads no more.
            biased;
            completed = upgrader.upgrade_complete() => return Ok(completed?),
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
