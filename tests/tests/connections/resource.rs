//! A daemon whose slot `open/5` is a connection, and what comes of asking for it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use fdbroker_tests::helper_process::Connection;
use fdbroker_tests::postgres::select;
use fdbroker_tests::{Answer, Builder, Daemon, Postgres, fixtures, process};

pub const SLOT: (i16, i32) = (1, 5);

/// A policy whose resource connects to an address, or a list of them, with these lines beside. Only a hang takes
/// all of its time.
pub fn connecting(address: &str, lines: &str) -> String {
    in_time(address, lines, "30s")
}

/// The same, with another `open_timeout`.
pub fn in_time(address: &str, lines: &str, open_timeout: &str) -> String {
    format!(
        "{}\n[resources.orders]\nslot = \"open/5\"\nconnect = {address}\n\
         open_timeout = \"{open_timeout}\"\n{lines}\n",
        fixtures::OPEN
    )
}

/// The same, logged in as `orders` with the password in a file.
pub fn logged_in(address: &str, password: &Path, keys: &str) -> String {
    connecting(address, &auth(password, keys))
}

/// The line of the log-in.
pub fn auth(password: &Path, keys: &str) -> String {
    format!(
        "auth = {{ postgres = {{ user = \"orders\", database = \"postgres\", \
         password = \"file:{}\" {keys} }} }}",
        password.display()
    )
}

/// A daemon that is logged in with this password.
pub fn daemon(address: &str, password: &str, keys: &str) -> Daemon {
    with_password(Daemon::open(), address, password, keys).start()
}

pub fn with_password(builder: Builder, address: &str, password: &str, keys: &str) -> Builder {
    let path = builder.directory().private_file("password", password);
    builder.policy(&logged_in(address, &path, keys))
}

/// The address of a port of this machine.
pub fn tcp(port: u16) -> String {
    format!("\"tcp:127.0.0.1:{port}\"")
}

/// The address of a server's Unix socket.
pub fn unix(server: &Postgres) -> String {
    format!("\"unix:{}\"", server.socket().display())
}

/// A server that does this to each connection, in a thread of its own. Returns its port.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        thread::scope(|scope| {
            for stream in listener.incoming() {
                let serve = &serve;
                scope.spawn(move || serve(stream.unwrap()));
            }
        });
    });
    port
}

/// The socket and the payload that must have come.
#[track_caller]
pub fn connection(answer: Answer, daemon: &Daemon) -> (TcpStream, Vec<u8>) {
    match answer {
        Answer::Deposit { payload, descriptor: Some(descriptor), .. } => {
            (TcpStream::from(descriptor), payload)
        }
        other => panic!("no connection ({other:?}): {}", daemon.log().text()),
    }
}

/// Asks the server who this is, over the connection of an answer.
#[track_caller]
pub fn current_user(answer: Answer, daemon: &Daemon) -> String {
    let (stream, payload) = connection(answer, daemon);
    let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
    select(stream, connection.early(), "SELECT current_user").unwrap()
}

/// What the record of the last connection says that could not be made.
#[track_caller]
pub fn failure(daemon: &Daemon) -> String {
    daemon.log().wait_for("the failure is recorded", |line| {
        line.kind == "open" && line.verdict == "failed"
    });
    assert_eq!(process::helpers(daemon.supervisor_pid()), [0; 0], "a helper is left");
    let failed = daemon.log().audit().into_iter().rev();
    failed.map(|line| line.reason).find(|reason| reason.starts_with("resource")).unwrap()
}

/// A connection that another process holds, which reads and writes for us.
pub struct There(pub Connection);

impl Read for There {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read(buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Write for There {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map(|written| usize::try_from(written).unwrap())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
