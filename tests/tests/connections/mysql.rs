//! Connections to a real MariaDB server. MySQL's own server is not in Debian: the log-in that only it has is tried
//! beside the helper.

use fdbroker_tests::mariadb::select;
use fdbroker_tests::{Answer, Daemon, HelperProcess, MariaDb, is_root};
use fdbroker_wire::Connection;

use crate::resource::{SLOT, There, connecting, connection, failure, tcp};

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
    let builder = Daemon::open();
    let password = password.map(|password| {
        let path = builder.directory().private_file("password", password);
        format!("password = \"file:{}\", ", path.display())
    });
    let line = format!("auth = {{ mysql = {{ {}{keys} }} }}", password.unwrap_or_default());
    builder.policy(&connecting(address, &line)).start()
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
