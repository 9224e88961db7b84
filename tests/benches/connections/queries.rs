//! Queries over a connection that the broker made and handed over, beside one that the program made by itself: both are
//! sockets to the same server, with nothing between.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

/// Asks so many times, one after the other, and waits for each answer.
///
/// # Panics
/// When the server refuses, or has gone.
pub fn ask(stream: &mut TcpStream, times: u32) {
    // A query of 9 bytes with its end, and the length of the length.
    let query = b"Q\0\0\0\x0dSELECT 1\0";
    let mut answer = [0; 4096];
    for _ in 0..times {
        stream.write_all(query).expect("the server reads");
        let mut received = 0;
        // "Ready for query" is the last of an answer: six bytes, which end with the state of the transaction.
        while !answer[..received].ends_with(b"Z\0\0\0\x05I") {
            let more = stream.read(&mut answer[received..]).expect("the server answers");
            assert_ne!(more, 0, "the server has gone");
            received += more;
        }
    }
}

/// A connection that was handed over, to be used as the program's own.
///
/// # Panics
/// When it is no socket.
pub fn handed_over(descriptor: OwnedFd) -> TcpStream {
    let stream = TcpStream::from(descriptor);
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
