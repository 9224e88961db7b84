//! Queries over a connection that the broker made and handed over, beside one that the program made by itself: both are
//! sockets to the same server, with nothing between.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

/// "Ready for query", the last of an answer: six bytes, which end with the state of the transaction.
const READY: &[u8] = b"Z\0\0\0\x05I";

/// Asks `SELECT 1` so many times, one after the other, and waits for each answer.
///
/// # Panics
/// When the server refuses, or has gone.
pub fn ask(stream: &mut (impl Read + Write), times: u32) {
    let mut answer = [0; 4096];
    (0..times).for_each(|_| ask_for("SELECT 1", stream, &mut answer));
}

/// Asks once, for an answer that has room in the buffer.
///
/// # Panics
/// When the server refuses, or has gone.
pub fn ask_for(query: &str, stream: &mut (impl Read + Write), answer: &mut [u8]) {
    // The length counts itself, and the end of the text.
    let length = u32::try_from(query.len() + 5).unwrap().to_be_bytes();
    let asked = [b"Q", &length[..], query.as_bytes(), b"\0"].concat();
    stream.write_all(&asked).expect("the server reads");
    let mut received = 0;
    while !answer[..received].ends_with(READY) {
        let more = stream.read(&mut answer[received..]).expect("the server answers");
        assert_ne!(more, 0, "the server has gone");
        received += more;
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
