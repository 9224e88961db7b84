//! Connections that a user has deposited: what their payloads say is that user's word.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::process::Output;

use fdbroker_tests::Daemon;
use fdbroker_wire::ConnectionWriter;

use super::caller::{Caller, PYTHON, has_python, text};

const TRUST: &str = "--trust-depositor";

/// A caller, and the other end of the connection in slot 1/9.
struct Setup {
    caller: Caller,
    server: TcpStream,
}

impl Setup {
    fn new(protocol: &str, fields: &[(&str, &str)]) -> Self {
        let caller = Caller::of(Daemon::open().start());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut writer = ConnectionWriter::new(protocol).unwrap();
        for (name, value) in fields {
            writer.add(name, value.as_bytes()).unwrap();
        }
        let payload = writer.finish().to_vec();
        caller.daemon.connect().add_descriptor((1, 9), socket, payload).done();
        Self { caller, server }
    }

    fn run(&self, wanted: &[&str], program: &str, arguments: &[&str]) -> Output {
        self.caller.exec_with(wanted, program, arguments).output().unwrap()
    }

    /// What the command says that does not run the program.
    #[track_caller]
    fn complains(&self, wanted: &[&str]) -> String {
        let output = self.run(wanted, "echo", &["ran"]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(8), String::new()));
        text(&output.stderr)
    }
}

#[test]
fn a_deposited_connection_is_not_relayed_unasked() {
    for protocol in ["postgres", "mysql", "redis", "socks5", "http-proxy"] {
        let mut setup = Setup::new(protocol, &[("user", "orders"), ("target", "a.example:1")]);
        let said = setup.complains(&[&format!("1/9={protocol}")]);
        assert!(said.contains("slot 1/9 has a connection that a user deposited"), "{said}");
        assert!(said.contains(TRUST), "{said}");
        assert!(setup.caller.directories().is_empty());
        // The session is the depositor's, and goes on.
        setup.server.set_nonblocking(true).unwrap();
        let read = setup.server.read(&mut [0]).unwrap_err();
        assert_eq!(read.kind(), io::ErrorKind::WouldBlock);
        let output = setup.run(&[TRUST, &format!("1/9={protocol}")], "echo", &["ran"]);
        assert_eq!(text(&output.stdout), "ran\n", "{output:?}");
    }
}

#[test]
fn a_payload_writes_no_line_into_a_file_of_options() {
    let wanted = [TRUST, "1/9=mysql"];
    let setup = Setup::new("mysql", &[("user", "x\"\nplugin-dir=/tmp/evil\n#")]);
    let said = setup.complains(&wanted);
    assert!(said.contains("\"user\" has a control character"), "{said}");
    let setup = Setup::new("mysql", &[("user", "x\"#")]);
    let said = setup.complains(&wanted);
    assert!(said.contains("has a quotation mark"), "{said}");
    let setup = Setup::new("mysql", &[("user", "orders"), ("database", "--plugin-dir=/tmp")]);
    let said = setup.complains(&wanted);
    assert!(said.contains("could take it for an option"), "{said}");
}

#[test]
fn a_payload_names_no_other_server_in_a_variable() {
    for database in ["host=/tmp/evil", "postgres:///x", "-hevil"] {
        let setup = Setup::new("postgres", &[("user", "orders"), ("database", database)]);
        let said = setup.complains(&[TRUST, "1/9=postgres"]);
        assert!(said.contains("the database") && said.contains("cannot be passed on"), "{said}");
    }
}

#[test]
fn a_depositor_chooses_no_receiver_of_a_cancel_request() {
    let what = "a depositor chooses no receiver of a cancel request";
    if !has_python(what, "socket") {
        return;
    }
    let victim = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = format!("tcp:{}", victim.local_addr().unwrap());
    let fields = [("peer", peer.as_str()), ("user", "a"), ("database", "a"), ("relay", "relayed")];
    let keys = [("backend.pid", "258"), ("backend.key", "abcd"), ("transaction", "I")];
    let setup = Setup::new("postgres", &[&fields[..], &keys].concat());
    let script = "import os, socket, struct\n\
        def connect(kind, body):\n    \
            there = socket.socket(socket.AF_UNIX)\n    \
            there.connect(os.environ['PGHOST'] + '/.s.PGSQL.5432')\n    \
            there.sendall(struct.pack('!ii', len(body) + 8, kind) + body)\n    \
            return there\n\
        session = connect(3 << 16, b'user\\0a\\0database\\0a\\0\\0')\n\
        said = b''\n\
        while not said.endswith(b'Z\\0\\0\\0\\5I'): said += session.recv(100)\n\
        print(connect(80877102, struct.pack('!i', 258) + b'abcd').recv(1))";
    let output = setup.run(&[TRUST, "1/9=postgres"], PYTHON, &["-c", script]);
    assert_eq!(text(&output.stdout), "b''\n", "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("the cancel request is not sent"), "{said}");
    victim.set_nonblocking(true).unwrap();
    assert_eq!(victim.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
