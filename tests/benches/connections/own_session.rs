//! What a program does that logs in by itself: connect, TLS where it is wanted, start-up, SCRAM-SHA-256, until the server is ready.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

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
    let mut stream = connect(port);
    start_up(&mut stream, user, password);
    stream
}

/// The same with TLS, of a server whose certificate is for 127.0.0.1.
///
/// # Panics
/// When the server refuses, or is not believed.
pub fn log_in_encrypted(
    port: u16,
    user: &str,
    password: &[u8],
    believed: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut stream = connect(port);
    // Eight bytes that ask for TLS, with their length.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S", "the server speaks TLS");
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::clone(believed), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    start_up(&mut stream, user, password);
    stream
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.set_nodelay(true).unwrap();
    stream
}

fn start_up(stream: &mut (impl Read + Write), user: &str, password: &[u8]) {
    let parameters = format!("\0\x03\0\0user\0{user}\0database\0postgres\0\0");
    send(stream, &[], parameters.as_bytes());
    let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
    loop {
        let (kind, body) = receive(stream);
        match kind {
            b'R' => answer(stream, &mut scram, &body),
            b'E' => panic!("{}", String::from_utf8_lossy(&body)),
            b'Z' => return,
            _ => {}
        }
    }
}

fn answer(stream: &mut impl Write, scram: &mut ScramSha256, body: &[u8]) {
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

fn send(stream: &mut impl Write, kind: &[u8], body: &[u8]) {
    let length = u32::try_from(4 + body.len()).unwrap().to_be_bytes();
    stream.write_all(&[kind, &length, body].concat()).unwrap();
}

fn receive(stream: &mut impl Read) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let [kind, length @ ..] = head;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
    stream.read_exact(&mut body).unwrap();
    (kind, body)
}
