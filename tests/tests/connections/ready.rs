//! Connections that are made before somebody asks: each is handed out once, and none that is of no use.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use fdbroker_tests::postgres::select;
use fdbroker_tests::{Daemon, Peer, Postgres, wait_for, wait_until};
use fdbroker_wire::connection::BACKEND_PID;

use crate::resource::{SLOT, connecting, connection, logged_in, server, tcp};

const SCRAM: &str = "host all all 127.0.0.1/32 scram-sha-256";
const READY: usize = 3;

/// A broker that keeps connections of `orders` ready.
fn daemon(server: &Postgres, more: &str) -> Daemon {
    server.execute("CREATE ROLE orders LOGIN PASSWORD 'hunter2'");
    let builder = Daemon::open();
    let path = builder.directory().private_file("password", "hunter2");
    builder.policy(&policy(server, &path, more)).start()
}

fn policy(server: &Postgres, password: &Path, more: &str) -> String {
    format!("{}\nready = {READY}\n{more}\n", logged_in(&tcp(server.port()), password, ""))
}

/// The server's processes for `orders`.
fn sessions(server: &Postgres) -> Vec<String> {
    let query = "SELECT pid FROM pg_stat_activity WHERE usename = 'orders' ORDER BY pid";
    server.execute(query).lines().map(str::to_owned).collect()
}

#[track_caller]
fn all_ready(server: &Postgres) -> Vec<String> {
    wait_for("all are ready", || Some(sessions(server)).filter(|found| found.len() == READY))
}

/// Gets a connection, and returns the server's process.
fn get(peer: &mut Peer, daemon: &Daemon) -> (String, TcpStream) {
    let (stream, payload) = connection(peer.get(SLOT), daemon);
    let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
    let said = select(&stream, connection.early(), "SELECT pg_backend_pid()").unwrap();
    assert_eq!(Some(&*said), connection.text(BACKEND_PID));
    (said, stream)
}

#[test]
fn each_connection_that_is_ready_is_handed_out_once_and_another_takes_its_place() {
    let what = "each connection that is ready is handed out once";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    let daemon = daemon(&server, "");
    let ready = all_ready(&server);
    let mut peer = daemon.connect();
    let (first, second) = (get(&mut peer, &daemon), get(&mut peer, &daemon));
    assert!(first.0 != second.0 && ready.contains(&first.0) && ready.contains(&second.0));
    wait_until("others take their places", || sessions(&server).len() == READY + 2);
}

#[test]
fn a_connection_that_the_server_has_ended_is_handed_to_nobody() {
    let what = "a connection that the server has ended is handed to nobody";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    let daemon = daemon(&server, "");
    let ready = all_ready(&server);
    server
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders'");
    wait_until("they are gone", || sessions(&server).iter().all(|pid| !ready.contains(pid)));
    let mut peer = daemon.connect();
    for _ in 0..READY {
        assert!(!ready.contains(&get(&mut peer, &daemon).0));
    }
}

#[test]
fn connections_that_wait_are_renewed_when_they_are_old_or_their_credential_changes() {
    let what = "connections that wait are renewed";
    let Some(server) = Postgres::start(what, SCRAM) else { return };
    let daemon = daemon(&server, "max_age = \"1h\"");
    let before = all_ready(&server);
    let (_, handed_out) = get(&mut daemon.connect(), &daemon);
    server.execute("ALTER ROLE orders PASSWORD 'correct'");
    let password = daemon.directory().join("password");
    fs::write(&password, "correct").unwrap();
    wait_until("all are new", || {
        let now = sessions(&server);
        now.len() == READY + 1 && now.iter().filter(|pid| before.contains(pid)).count() == 1
    });
    select(&handed_out, &[], "SELECT 1").expect("what was handed out lives on");
    daemon.reload(&policy(&server, &password, "max_age = \"1s\""));
    let before = sessions(&server);
    wait_until("they are old", || {
        sessions(&server).iter().filter(|pid| before.contains(pid)).count() == 1
    });
}

#[test]
fn a_server_that_comes_back_has_connections_again_and_the_log_says_so_twice() {
    let what = "a server that comes back has connections again";
    let Some(server) = Postgres::start(what, "host all all 127.0.0.1/32 reject") else { return };
    let daemon = daemon(&server, "");
    let fails = "no connection can be kept ready: resource \"orders\": log-in failed";
    daemon.log().wait_for("it fails", |line| line.message.starts_with(fails));
    server.set_access(SCRAM);
    all_ready(&server);
    let again = "resource \"orders\": connections are kept ready again";
    daemon.log().wait_for("it works again", |line| line.message.starts_with(again));
    // Another reason is another line, as when the server has no time while it reads its file.
    let mut said: Vec<String> = daemon.log().lines().into_iter().map(|line| line.message).collect();
    said.retain(|message| message.starts_with("no connection can be kept ready"));
    said.iter_mut().for_each(|message| message.retain(|each| !each.is_ascii_digit()));
    let all = said.len();
    said.dedup();
    assert_eq!(said.len(), all, "{said:?}");
}

/// A server that ends each session after its log-in, until it is told to keep them.
#[derive(Default)]
struct Hostile {
    log_ins: AtomicUsize,
    keeps: AtomicBool,
}

impl Hostile {
    /// Logs in, and ends it in one of two ways, unless it keeps it until the broker has gone.
    fn serve(&self, mut stream: TcpStream) {
        let number = self.log_ins.fetch_add(1, Ordering::Relaxed);
        // The broker may have gone.
        let _ = stream.write_all(b"+OK\r\n").and_then(|()| stream.read_exact(&mut [0; 3]));
        if !self.keeps.load(Ordering::Relaxed) {
            if number.is_multiple_of(2) {
                return;
            }
            let _ = stream.write_all(b"-BYE\r\n");
        }
        let _ = stream.read_to_end(&mut Vec::new());
    }

    fn log_ins(&self) -> usize {
        self.log_ins.load(Ordering::Relaxed)
    }
}

#[test]
fn a_server_that_logs_in_and_hangs_up_is_asked_again_later_and_later() {
    let hostile = Arc::new(Hostile::default());
    let serving = Arc::clone(&hostile);
    let port = server(move |stream| serving.serve(stream));
    let script = "auth.script = { protocol = \"lines\", steps = [\"expect:+OK\", \"send:.\"] }";
    let policy = connecting(&tcp(port), &format!("{script}\nready = {READY}"));
    let daemon = Daemon::open().policy(&policy).start();
    wait_until("it is asked", || hostile.log_ins() > READY);
    let before = hostile.log_ins();
    sleep(Duration::from_secs(2));
    let asked = hostile.log_ins() - before;
    assert!(asked <= 4 * READY, "{asked} log-ins in 2 s");
    let ended = "no connection can be kept ready: resource \"orders\": the server hangs up";
    daemon.log().wait_for("it is said", |line| line.message.starts_with(ended));
    hostile.keeps.store(true, Ordering::Relaxed);
    let again = "resource \"orders\": connections are kept ready again";
    daemon.log().wait_for("it is over", |line| line.message.starts_with(again));
}
