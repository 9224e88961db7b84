//! Client libraries that use a connection of the broker's, in the process that has it.

use std::path::Path;
use std::process::Command;

use fdbroker::adopt::postgres::Adopted;
use fdbroker::tokio::Broker;
use fdbroker_tests::{Daemon, Ids, Postgres, Redis, is_root, sys};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, cmd};
use tokio::runtime::Builder;
use tokio_postgres::{Client, Config, NoTls};

use crate::exec::{PYTHON, has_python};
use crate::pages::example;
use crate::redis::{ORDERS, daemon as daemon_of_redis};
use crate::resource::{daemon, tcp};

const SCRAM: &str = "host all all 127.0.0.1/32 scram-sha-256";
/// Who has no right on any credential.
const CALLER: u32 = 64037;

/// A server, and a broker that is logged in there as `orders`.
fn logged_in(what: &str) -> Option<(Postgres, Daemon)> {
    let server = Postgres::start(what, SCRAM)?;
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2-geheim'");
    let daemon = daemon(&tcp(server.port()), "hunter2-geheim", "");
    Some((server, daemon))
}

async fn adopt(daemon: &Daemon) -> Adopted {
    let broker = Broker::connect_to(daemon.socket()).await.unwrap();
    Adopted::new(broker.get("1/5".parse().unwrap()).await.unwrap()).unwrap()
}

/// A client on a session of the broker's.
async fn connect(daemon: &Daemon, config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect_raw(adopt(daemon).await, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn text(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[test]
fn tokio_postgres_runs_on_a_session_of_the_broker() {
    let what = "tokio-postgres runs on a session of the broker";
    let Some((_server, daemon)) = logged_in(what) else { return };
    let mut config = Config::new();
    config.user("orders").dbname("postgres");
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let client = connect(&daemon, &config).await.unwrap();
        assert_eq!(text(&client, "SELECT current_user::text").await, "orders");
        let rows = client.query("SELECT generate_series(1, 100000)", &[]).await.unwrap();
        assert_eq!(rows.len(), 100_000);
        let failed = client.query("SELECT 1 / 0", &[]).await.unwrap_err();
        assert!(failed.as_db_error().unwrap().message().contains("division by zero"));
        // What the client sets by its start-up is set in the session.
        config.application_name("a 'shop'").ssl_mode(tokio_postgres::config::SslMode::Prefer);
        let client = connect(&daemon, &config).await.unwrap();
        let name = "SELECT current_setting('application_name')";
        assert_eq!(text(&client, name).await, "a 'shop'");
        // Another user is refused before the server is asked.
        let refused = connect(&daemon, config.user("eve")).await.err().unwrap();
        let words = refused.as_db_error().unwrap().message();
        assert!(
            words.contains("the session is that of user \"orders\", not of \"eve\""),
            "{words}"
        );
    });
    assert!(!daemon.log().text().contains("geheim"));
}

#[test]
fn a_session_that_is_adopted_ends_with_its_stream() {
    let what = "a session that is adopted ends with its stream";
    let Some((server, daemon)) = logged_in(what) else { return };
    let sessions = || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders'";
        server.execute(query).parse::<u32>().unwrap()
    };
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let adopted = adopt(&daemon).await;
        assert_eq!(adopted.connection().unwrap().text("user"), Some("orders"));
        assert_eq!(sessions(), 1);
        drop(adopted);
    });
    fdbroker_tests::wait_until("the session has ended", || sessions() == 0);
}

#[test]
fn redis_rs_runs_on_a_connection_of_the_broker() {
    let what = "redis-rs runs on a connection of the broker";
    let Some(server) = Redis::start(what, &ORDERS) else { return };
    let daemon = daemon_of_redis(&tcp(server.port()), Some("hunter2-geheim"), "user = \"orders\"");
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let broker = Broker::connect_to(daemon.socket()).await.unwrap();
        let deposit = broker.get("1/5".parse().unwrap()).await.unwrap();
        assert_eq!(deposit.connection().unwrap().parameter("proto"), Some("3"));
        let socket = std::net::TcpStream::from(deposit.descriptor.unwrap());
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::TcpStream::from_std(socket).unwrap();
        let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let config = AsyncConnectionConfig::new();
        let connected = MultiplexedConnection::new_with_config(&info, socket, config).await;
        let (mut client, driver) = connected.unwrap();
        tokio::spawn(driver);
        let who: String = cmd("ACL").arg("WHOAMI").query_async(&mut client).await.unwrap();
        assert_eq!(who, "orders");
    });
}

#[test]
fn redis_py_runs_on_a_connection_of_the_broker_as_its_page_says() {
    let what = "redis-py runs on a connection of the broker";
    let Some(server) = Redis::start(what, &ORDERS) else { return };
    if !has_python(what, "redis") {
        return;
    }
    let daemon = daemon_of_redis(&tcp(server.port()), Some("hunter2-geheim"), "user = \"orders\"");
    let script = example("### redis-py", "python").replace("\"3/0\"", "\"1/5\"");
    let script = script + "print(sessions.execute_command('ACL', 'WHOAMI').decode())\n";
    let mut python = Command::new(PYTHON);
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/python/fdbroker.py");
    // Another user may not be able to search the directory of the sources.
    let copy = daemon.directory().join("python");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(library, copy.join("fdbroker.py")).unwrap();
    python.args(["-B", "-c", &script]).env("PYTHONPATH", &copy).current_dir("/");
    python.env("FDBROKER_SOCKET", daemon.socket());
    if is_root() {
        sys::become_before(&mut python, Ids::plain(CALLER));
    }
    let output = python.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "b'it works'\norders\n", "{output:?}");
}
