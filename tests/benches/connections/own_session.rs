//! What a program does that logs in by itself: connect, start-up, SCRAM-SHA-256, until the server is ready.

use std::io::{Read, Write};
use std::net::TcpStream;

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

const SASL: u32 = 10;
const CONTINUE: u32 = 11;
const FINAL: u32 = 12;
const OK: u32 = 0;

/// Returns the connection once the server is ready for a query.
///
/// # Panics
/// When the server refuses.
pub fn log_in(port: u16, user: &str, password: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.set_nodelay(true).unwrap();
    let parameters = format!("\0\x03\0\0user\0{user}\0database\0postgres\0\0");
    send(&mut stream, &[], parameters.as_bytes());
    let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
    loop {
        let (kind, body) = receive(&mut stream);
        match kind {
            b'R' => answer(&mut stream, &mut scram, &body),
            b'E' => panic!("{}", String::from_utf8_lossy(&body)),
            b'Z' => return stream,
            _ => {}
        }
    }
}

fn answer(stream: &mut TcpStream, scram: &mut ScramSha256, body: &[u8]) {
    let (question, rest) = body.split_first_chunk().expect("a question has a number");
    match u32::from_be_bytes(*question) {
        SASL => {
            let first = scram.message();
            let length = u32::try_from(first.len()).unwrap().to_be_bytes();
            let body = [SCRAM_SHA_256.as_bytes(), b"\0", &length, first].concat();
            send(stream, b"p", &body);
        }
        CONTINUE => {
            scram.update(rest).unwrap();
            send(stream, b"p", scram.message());
        }
        FINAL => scram.finish(rest).unwrap(),
        OK => {}
        other => panic!("the server asks for {other}"),
    }
}

fn send(stream: &mut TcpStream, kind: &[u8], body: &[u8]) {
    let length = u32::try_from(4 + body.len()).unwrap().to_be_bytes();
    stream.write_all(&[kind, &length, body].concat()).unwrap();
}

fn receive(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let [kind, length @ ..] = head;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
    stream.read_exact(&mut body).unwrap();
    (kind, body)
}
