//! Servers by name, and connections without a log-in.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use fdbroker_tests::Daemon;
use fdbroker_wire::Connection;

use crate::resource::{SLOT, connecting, connection, failure, server};

/// The names and values of a payload, as text.
fn fields(payload: &[u8]) -> Vec<(String, String)> {
    let connection = Connection::parse(payload).expect("the payload of a connection");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    connection.fields().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

fn field(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

#[test]
fn a_name_is_looked_up_by_the_helper() {
    let port = server(|mut stream| stream.write_all(b"hello").unwrap());
    let daemon =
        Daemon::open().policy(&connecting(&format!("\"tcp:localhost:{port}\""), "")).start();
    let (mut socket, payload) = connection(daemon.connect().get(SLOT), &daemon);
    let peer = format!("tcp:127.0.0.1:{port}");
    assert_eq!(
        fields(&payload),
        [field("protocol", "tcp"), field("peer", peer), field("relay", "direct")]
    );
    let mut said = String::new();
    // It blocks until the server says it.
    socket.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello");
}

#[test]
fn a_name_that_nobody_has_is_a_failed_look_up() {
    let policy = connecting("\"tcp:no-such-name.invalid:1\"", "");
    let daemon = Daemon::open().policy(&policy).start();
    let errno = daemon.connect().get(SLOT).errno();
    let said = failure(&daemon);
    assert!(said.starts_with("resource \"orders\": name look-up failed after "), "{said}");
    assert!(said.contains("tcp:no-such-name.invalid:1: failed to lookup address"), "{said}");
    assert_eq!(errno, libc::EIO);
}

#[test]
fn a_unix_socket_is_connected_to_after_an_address_that_refuses() {
    let builder = Daemon::open();
    let path = builder.directory().join("server");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::fs::chmod(&path, rustix::fs::Mode::from(0o777)).unwrap();
    let addresses = format!("[\"tcp:127.0.0.1:1\", \"unix:{}\"]", path.display());
    let daemon = builder.policy(&connecting(&addresses, "")).start();
    let (socket, payload) = connection(daemon.connect().get(SLOT), &daemon);
    let peer = format!("unix:{}", path.display());
    assert_eq!(
        fields(&payload),
        [field("protocol", "unix"), field("peer", peer), field("relay", "direct")]
    );
    let mut socket = UnixStream::from(OwnedFd::from(socket));
    listener.accept().unwrap().0.write_all(b"hello").unwrap();
    let mut said = [0; 5];
    socket.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
}

#[test]
fn every_address_that_refuses_is_named() {
    let addresses = "[\"tcp:127.0.0.1:1\", \"unix:/nonexistent/server\"]";
    let daemon = Daemon::open().policy(&connecting(addresses, "")).start();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    for part in [
        "connect failed after ",
        "tcp:127.0.0.1:1: Connection refused (os error 111)",
        "unix:/nonexistent/server: No such file or directory (os error 2)",
        "check that the server runs and accepts connections at that address",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
