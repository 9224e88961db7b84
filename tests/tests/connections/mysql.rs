//! Connections to a real MariaDB server. MySQL's own server is not in Debian: the log-in that only it has is tried
//! beside the helper.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use fdbroker_tests::authority::VALID;
use fdbroker_tests::mariadb::select;
use fdbroker_tests::{Answer, Authority, Daemon, HelperProcess, MariaDb, Signed, is_root, skip};
use fdbroker_wire::Connection;
use fdbroker_wire::connection::RELAY;

use crate::resource::{SLOT, There, connecting, connection, failure, tcp};
use crate::tls::{HERE, tls};

/// Who has no right on any credential.
const CALLER: u32 = 64037;
/// What there is in the server.
pub const STATEMENTS: [&str; 4] = [
    "CREATE DATABASE shop;",
    "CREATE USER orders@'%' IDENTIFIED BY 'hunter2-geheim';",
    "GRANT SELECT ON shop.* TO orders@'%';",
    "CREATE USER guest@'%';",
];
pub const NATIVE: &str = "methods = [\"mysql_native_password\"]";

/// A daemon that is logged in with this password, if there is one, and these keys.
pub fn daemon(address: &str, password: Option<&str>, keys: &str) -> Daemon {
    daemon_with(address, password, keys, "")
}

/// The same with this line beside.
fn daemon_with(address: &str, password: Option<&str>, keys: &str, line: &str) -> Daemon {
    let builder = Daemon::open();
    let password = password.map(|password| {
        let path = builder.directory().private_file("password", password);
        format!("password = \"file:{}\", ", path.display())
    });
    let auth = format!("auth = {{ mysql = {{ {}{keys} }} }}", password.unwrap_or_default());
    builder.policy(&connecting(address, &format!("{line}\n{auth}"))).start()
}

#[test]
fn an_unprivileged_caller_gets_a_mariadb_session_and_no_password() {
    let what = "an unprivileged caller gets a MariaDB session and no password";
    let Some(server) = MariaDb::start(what, &STATEMENTS) else { return };
    let keys = format!("user = \"orders\", database = \"shop\", {NATIVE}");
    let unix = format!("\"unix:{}\"", server.socket().display());
    for address in [tcp(server.port()), unix] {
        let daemon = daemon(&address, Some("hunter2-geheim\n"), &keys);
        let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
        if is_root() {
            let password = caller.open(&daemon.directory().join("password"), false);
            assert_eq!(password.unwrap_err().raw_os_error(), Some(libc::EACCES));
        }
        let (socket, payload) = connection(caller.connect(&daemon).get(SLOT), &daemon);
        let session = Connection::parse(&payload).unwrap();
        assert_eq!(session.protocol(), "mysql");
        assert_eq!(
            (session.text("user"), session.text("database")),
            (Some("orders"), Some("shop"))
        );
        let version = session.parameter("server_version").unwrap();
        assert!(version.contains("MariaDB"), "{version}");
        let query = "SELECT CURRENT_USER(), DATABASE(), CONNECTION_ID(), @@collation_connection";
        let found = select(There(caller.keep(socket)), session.early(), query).unwrap();
        let id = session.text("client.id").unwrap();
        assert_eq!(found, ["orders@%", "shop", id, "utf8mb4_general_ci"]);
        assert_eq!((session.text("charset"), session.text("status")), (Some("45"), Some("2")));
        assert!(!daemon.log().text().contains("geheim"));
        assert!(!String::from_utf8_lossy(&payload).contains("geheim"));
    }
}

#[test]
fn an_unprivileged_caller_gets_an_encrypted_mariadb_session() {
    let what = "an unprivileged caller gets an encrypted MariaDB session";
    let Some(authority) = Authority::new(what) else { return };
    let signed = authority.sign("server", HERE, VALID);
    let statements = [&STATEMENTS[..], &["ALTER USER orders@'%' REQUIRE SSL;"]].concat();
    let Some(server) = MariaDb::start_encrypted(what, &statements, &signed) else { return };
    let line = tls(&authority.certificate(), "");
    let keys = format!("user = \"orders\", database = \"shop\", {NATIVE}");
    let encrypted = daemon_with(&tcp(server.port()), Some("hunter2-geheim"), &keys, &line);
    let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
    let (socket, payload) = connection(caller.connect(&encrypted).get(SLOT), &encrypted);
    let session = Connection::parse(&payload).unwrap();
    assert_eq!((session.protocol(), session.text(RELAY)), ("mysql", Some("relayed")));
    // TLS ends in the broker: the session of the caller has none.
    let capabilities: u32 = session.text("capabilities").unwrap().parse().unwrap();
    assert_eq!(capabilities & 0x800, 0);
    let query = "SELECT CURRENT_USER(), DATABASE(), VARIABLE_VALUE \
                 FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_version'";
    let found = select(There(caller.keep(socket)), session.early(), query).unwrap();
    assert_eq!(found, ["orders@%", "shop", "TLSv1.3"]);
    assert_eq!(session.text("database"), Some("shop"));
    assert!(!encrypted.log().text().contains("geheim"));
    let without = daemon(&tcp(server.port()), Some("hunter2-geheim"), &keys);
    assert_eq!(without.connect().get(SLOT).errno(), libc::EIO);
    assert!(failure(&without).contains("the server says 1045 "), "{}", failure(&without));
}

/// A server that has nobody in the cache of `caching_sha2_password`: it says its port, and lets in who tells it the
/// password over TLS.
const FORGETFUL: &str = r#"
import socket, ssl, sys

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])

def packet(number, body):
    return len(body).to_bytes(3, "little") + bytes([number]) + body

def receive(stream):
    head = stream.recv(4, socket.MSG_WAITALL) if stream is plain else stream.read(4)
    return stream.recv(int.from_bytes(head[:3], "little"))

plain, _ = listener.accept()
capabilities = (0xffffffff & ~0x20).to_bytes(4, "little")
plain.sendall(packet(0, b"\x0a8.0.36\0\x07\0\0\0" + b"01234567" + b"\0" + capabilities[:2] + b"\x2d\x02\0"
    + capabilities[2:] + b"\x15" + bytes(10) + b"89abcdefghij\0" + b"caching_sha2_password\0"))
request = receive(plain)
assert len(request) == 32 and request[1] & 8, request
stream = context.wrap_socket(plain, server_side=True)
response = receive(stream)
assert response.startswith(request) and response[32:].startswith(b"orders\0"), response
stream.sendall(packet(3, b"\x01\x04"))
if receive(stream) == sys.argv[3].encode() + b"\0":
    stream.sendall(packet(5, b"\0\0\0\x02\0\0\0"))
    stream.read(1)
"#;

#[test]
fn the_password_itself_is_sent_over_tls() {
    let what = "the password itself is sent over TLS";
    let Some(authority) = Authority::new(what) else { return };
    let Signed { certificate, key } = authority.sign("server", HERE, VALID);
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", FORGETFUL]).arg(certificate).arg(key).arg("hunter2-geheim");
    let Ok(mut server) = command.stdout(Stdio::piped()).spawn() else {
        skip(what, "there is no Python");
        return;
    };
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let (address, line) = (tcp(port.trim().parse().unwrap()), tls(&authority.certificate(), ""));
    let daemon = daemon_with(&address, Some("hunter2-geheim"), "user = \"orders\"", &line);
    let (socket, payload) = connection(daemon.connect().get(SLOT), &daemon);
    assert_eq!(Connection::parse(&payload).unwrap().parameter("server_version"), Some("8.0.36"));
    drop(socket);
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_mariadb_server_without_tls_is_not_told_the_password() {
    let what = "a MariaDB server without TLS is not told the password";
    let Some(authority) = Authority::new(what) else { return };
    let Some(server) = MariaDb::start(what, &STATEMENTS) else { return };
    let line = tls(&authority.certificate(), "");
    let keys = format!("user = \"orders\", {NATIVE}");
    let daemon = daemon_with(&tcp(server.port()), Some("hunter2-geheim"), &keys, &line);
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&daemon);
    assert!(said.contains("TLS failed after ") && said.contains("does not offer TLS"), "{said}");
}

#[test]
fn a_mysql_user_without_a_password_is_used_as_it_is() {
    let what = "a MySQL user without a password is used as it is";
    let Some(server) = MariaDb::start(what, &STATEMENTS) else { return };
    let daemon = daemon(&tcp(server.port()), None, &format!("user = \"guest\", {NATIVE}"));
    let (stream, payload) = connection(daemon.connect().get(SLOT), &daemon);
    let session = Connection::parse(&payload).unwrap();
    assert_eq!(session.text("database"), None);
    assert_eq!(select(stream, session.early(), "SELECT CURRENT_USER()").unwrap(), ["guest@%"]);
}

#[test]
fn a_refusal_of_mariadb_is_told_to_the_administrator_alone() {
    let what = "a refusal of MariaDB is told to the administrator alone";
    let Some(server) = MariaDb::start(what, &STATEMENTS) else { return };
    for (password, keys, expected) in [
        ("wrong-geheim", format!("user = \"orders\", {NATIVE}"), "the server says 1045 (28000): "),
        (
            "hunter2-geheim",
            format!("user = \"orders\", database = \"other\", {NATIVE}"),
            "the server says 1044 (42000): ",
        ),
        (
            "hunter2-geheim",
            "user = \"orders\"".to_owned(),
            "the method \"mysql_native_password\", which `methods` does not allow",
        ),
    ] {
        let daemon = daemon(&tcp(server.port()), Some(password), &keys);
        let Answer::Failed(errno, text) = daemon.connect().get(SLOT) else {
            panic!("it is logged in")
        };
        assert_eq!((errno, text.as_str()), (libc::EIO, "the resource cannot be opened"));
        let said = failure(&daemon);
        assert!(said.contains(expected) && !said.contains("geheim"), "{said}");
    }
}
