//! A relay that does nothing but copy, with two threads for each connection: what any relay costs at least.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

const CHUNK: usize = 16 * 1024;

/// Relays from a socket at `path` to a port of this machine, as long as this process runs.
///
/// # Panics
/// When it cannot listen.
pub fn start(path: &Path, port: u16) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            server.set_nodelay(true).unwrap();
            relay(client, server);
        }
    });
}

fn relay(client: UnixStream, server: TcpStream) {
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        copy(&from_client, &to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        copy(&server, &client);
        let _ = client.shutdown(Shutdown::Write);
    });
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut room = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut room) {
        if to.write_all(&room[..length]).is_err() {
            return;
        }
    }
}
