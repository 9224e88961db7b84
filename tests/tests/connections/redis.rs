//! Connections to a real Redis server.

use fdbroker_tests::{Answer, Daemon, HelperProcess, Redis, is_root};
use fdbroker_wire::Connection;

use crate::resource::{SLOT, There, connecting, connection, failure, tcp};

/// Who has no right on any credential.
const CALLER: u32 = 64034;
/// A user of the server who needs a password.
pub const ORDERS: [&str; 7] = ["--user", "orders", "on", ">hunter2-geheim", "~*", "&*", "+@all"];

/// A daemon that is logged in with this password, if there is one, and these keys.
pub fn daemon(address: &str, password: Option<&str>, keys: &str) -> Daemon {
    let builder = Daemon::open();
    let password = password.map(|password| {
        let path = builder.directory().private_file("password", password);
        format!("password = \"file:{}\", ", path.display())
    });
    let line = format!("auth = {{ redis = {{ {}{keys} }} }}", password.unwrap_or_default());
    builder.policy(&connecting(address, &line)).start()
}

/// What the server answers over the connection of an answer.
#[track_caller]
fn ask(answer: Answer, daemon: &Daemon, command: &str) -> String {
    let (stream, payload) = connection(answer, daemon);
    Redis::ask(stream, Connection::parse(&payload).unwrap().early(), command).unwrap()
}

#[test]
fn an_unprivileged_caller_gets_a_redis_session_and_no_password() {
    let what = "an unprivileged caller gets a Redis session and no password";
    let Some(server) = Redis::start(what, &ORDERS) else { return };
    let keys = "user = \"orders\", database = 3, client_name = \"shop\"";
    let daemon = daemon(&tcp(server.port()), Some("hunter2-geheim\n"), keys);
    let caller = if is_root() { HelperProcess::user(CALLER) } else { HelperProcess::same() };
    let (socket, payload) = connection(caller.connect(&daemon).get(SLOT), &daemon);
    let session = Connection::parse(&payload).unwrap();
    assert_eq!(session.protocol(), "redis");
    assert_eq!((session.text("user"), session.text("database")), (Some("orders"), Some("3")));
    assert_eq!(session.parameter("proto"), Some("3"));
    assert!(session.parameter("version").unwrap().starts_with(char::is_numeric));
    let info = Redis::ask(There(caller.keep(socket)), session.early(), "CLIENT INFO").unwrap();
    let id = format!("id={} ", session.text("client.id").unwrap());
    for part in [&id, " name=shop ", " db=3 ", " user=orders ", " resp=3"] {
        assert!(info.contains(part), "{part}: {info}");
    }
    assert!(!daemon.log().text().contains("geheim"));
    assert!(!String::from_utf8_lossy(&payload).contains("geheim"));
}

#[test]
fn the_default_user_of_redis_needs_its_password() {
    let what = "the default user of Redis needs its password";
    let Some(server) = Redis::start(what, &["--requirepass", "hunter2"]) else { return };
    let address = format!("\"unix:{}\"", server.socket().display());
    let with = daemon(&address, Some("hunter2"), "");
    assert_eq!(ask(with.connect().get(SLOT), &with, "PING"), "+PONG");
    let without = daemon(&address, None, "");
    assert_eq!(without.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&without);
    assert!(said.contains("the server says \"NOAUTH "), "{said}");
}

#[test]
fn a_refusal_of_redis_is_told_to_the_administrator_alone() {
    let what = "a refusal of Redis is told to the administrator alone";
    let Some(server) = Redis::start(what, &ORDERS) else { return };
    let wrong = daemon(&tcp(server.port()), Some("wrong-geheim"), "user = \"orders\"");
    let Answer::Failed(errno, text) = wrong.connect().get(SLOT) else { panic!("it is logged in") };
    assert_eq!((errno, text.as_str()), (libc::EIO, "the resource cannot be opened"));
    let said = failure(&wrong);
    assert!(said.contains("the server says \"WRONGPASS ") && !said.contains("geheim"), "{said}");
    let far = daemon(&tcp(server.port()), None, "database = 99");
    assert_eq!(far.connect().get(SLOT).errno(), libc::EIO);
    let said = failure(&far);
    assert!(said.contains("the server says \"ERR DB index is out of range\""), "{said}");
}

#[test]
fn a_redis_server_that_asks_for_nothing_is_used_as_it_is() {
    let what = "a Redis server that asks for nothing is used as it is";
    let Some(server) = Redis::start(what, &[]) else { return };
    let daemon = daemon(&tcp(server.port()), None, "");
    let mut peer = daemon.connect();
    assert_eq!(ask(peer.get(SLOT), &daemon, "SET orders 7"), "+OK");
    assert_eq!(ask(peer.get(SLOT), &daemon, "GET orders"), "7");
}
