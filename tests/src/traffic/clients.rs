//! The clients of the service: the other ends of its connections, in one process.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use super::numbered::Way;
use super::orders::{answer, next};
use super::pump::Pump;
use super::stream::{Position, Stream};

/// Connects so often to the service, and does what it is told until the test has gone.
pub fn run(address: SocketAddr, connections: u32) {
    let streams = (0..connections).map(|number| connect(address, number));
    let streams: Vec<Stream> = streams.collect::<io::Result<_>>().expect("the service accepts");
    let pump = Pump::start(streams).expect("the streams are watched");
    answer(&connections);
    while let Some(order) = next() {
        match order.as_str() {
            "hold" => pump.sends(false),
            "go" => pump.sends(true),
            "positions" => {}
            other => panic!("clients know no order {other}"),
        }
        answer(&pump.positions());
    }
}

/// Each says first which one it is.
fn connect(address: SocketAddr, number: u32) -> io::Result<Stream> {
    let mut socket = TcpStream::connect(address)?;
    socket.write_all(&number.to_ne_bytes())?;
    Stream::new(socket, number, Way::In, Position::default())
}
