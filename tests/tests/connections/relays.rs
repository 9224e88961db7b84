//! Helpers that stay: each passes on what goes between a caller and a server that speaks TLS, until one of them, or
//! somebody who may say so, ends it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use fdbroker::Broker;
use fdbroker_tests::authority::VALID;
use fdbroker_tests::postgres::select;
use fdbroker_tests::{
    Answer, Authority, Daemon, PATIENCE, Postgres, Redis, WORKER, is_root, process, wait_until,
};
use fdbroker_wire::Connection;
use fdbroker_wire::connection::{BACKEND_PID, LEASE};
use rustix::process::Signal;

use crate::resource::{SLOT, connecting, connection, logged_in, tcp};
use crate::tls::{HERE, OPERATORS, daemon, encrypted, tls};

/// How many relays a user may have.
const MOST_OF_A_USER: usize = 128;

/// A connection that was handed out.
struct HandedOut {
    stream: TcpStream,
    early: Vec<u8>,
    backend: String,
    lease: Option<u64>,
}

#[track_caller]
fn get(daemon: &Daemon) -> HandedOut {
    let (stream, payload) = connection(daemon.connect().get(SLOT), daemon);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = Connection::parse(&payload).unwrap();
    let backend = connection.text(BACKEND_PID).unwrap().to_owned();
    let lease = connection.text(LEASE).map(|lease| lease.parse().unwrap());
    HandedOut { stream, early: connection.early().to_vec(), backend, lease }
}

impl HandedOut {
    fn asks(&self, query: &str) -> String {
        select(&self.stream, &self.early, query).unwrap()
    }

    /// Whether the server has ended the session.
    fn is_over(&self, server: &Postgres) -> bool {
        let query = format!("SELECT pid FROM pg_stat_activity WHERE pid = {}", self.backend);
        server.execute(&query).is_empty()
    }
}

fn relays(daemon: &Daemon) -> Vec<u32> {
    process::helpers(daemon.supervisor_pid())
}

#[track_caller]
fn ends(daemon: &Daemon, server: &Postgres, handed_out: &HandedOut) {
    wait_until("the session is over", || handed_out.is_over(server));
    wait_until("the relay is gone", || relays(daemon).is_empty());
}

#[test]
fn a_relay_has_no_privilege_and_little_memory() {
    let Some((authority, server)) = encrypted("a relay has no privilege") else { return };
    let daemon = daemon(&server, &authority.certificate(), "");
    let handed_out = get(&daemon);
    let relays = relays(&daemon);
    let [relay] = relays[..] else { panic!("one relay: {relays:?}") };
    // Several megabytes each way, so that each buffer has been as large as it becomes.
    let long = "x".repeat(4 << 20);
    assert_eq!(handed_out.asks(&format!("SELECT length('{long}')")), long.len().to_string());
    assert_eq!(handed_out.asks("SELECT repeat('x', 4 << 20)"), long);
    let private = process::memory(relay, "RssAnon");
    println!("a relay has {private} bytes of its own");
    assert!(private <= 3 << 20, "{private} bytes of its own");
    let status = |field| process::status(relay, field);
    for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(field), "0000000000000000", "{field}");
    }
    assert_eq!((status("NoNewPrivs"), status("Seccomp")), ("1".to_owned(), "2".to_owned()));
    if is_root() {
        assert_eq!(status("Uid"), format!("{WORKER}\t{WORKER}\t{WORKER}\t{WORKER}"));
        let open = process::descriptors(relay).unwrap();
        assert!(open.len() <= 5, "its link, /dev/null, the log and two sockets: {open:?}");
        assert!(!open.values().any(|target| target.contains("memfd")), "{open:?}");
    }
}

#[test]
fn a_caller_that_does_not_read_holds_up_the_server_and_fills_no_memory() {
    let Some((authority, server)) = encrypted("a caller that does not read") else { return };
    let daemon = daemon(&server, &authority.certificate(), "");
    let mut handed_out = get(&daemon);
    let relay = relays(&daemon)[0];
    // A row of 64 MiB.
    handed_out.stream.write_all(&query("SELECT repeat('x', 64 << 20)")).unwrap();
    let waits = format!(
        "SELECT wait_event FROM pg_stat_activity WHERE pid = {} AND wait_event = 'ClientWrite'",
        handed_out.backend
    );
    wait_until("the server waits", || !server.execute(&waits).is_empty());
    let private = process::memory(relay, "RssAnon");
    assert!(private <= 3 << 20, "{private} bytes of its own");
    let used = process::processor_ticks(relay);
    std::thread::sleep(Duration::from_millis(300));
    assert!(process::processor_ticks(relay) <= used + 2, "it waits for nothing, again and again");
    let mut left = 64 << 20;
    let mut room = vec![0; 1 << 16];
    while left > 0 {
        let read = handed_out.stream.read(&mut room).unwrap();
        assert!(read > 0, "{left} bytes are missing");
        left -= room[..read].iter().filter(|byte| **byte == b'x').count();
    }
}

#[test]
fn a_relay_ends_with_either_side() {
    let Some((authority, server)) = encrypted("a relay ends with either side") else { return };
    let daemon = daemon(&server, &authority.certificate(), "");
    let by_caller = get(&daemon);
    assert_eq!(by_caller.asks("SELECT 1"), "1");
    // The status is told with a beat: one of them may have seen the helper at work.
    let counted = || daemon.says(&["status"]).contains("\nhelpers=0\nrelays=1\n");
    wait_until("the status counts it", counted);
    let HandedOut { stream, .. } = &by_caller;
    stream.shutdown(Shutdown::Both).unwrap();
    ends(&daemon, &server, &by_caller);
    let half = get(&daemon);
    half.stream.shutdown(Shutdown::Write).unwrap();
    let mut said = Vec::new();
    (&half.stream).read_to_end(&mut said).unwrap();
    ends(&daemon, &server, &half);
    let by_server = get(&daemon);
    server.execute(&format!("SELECT pg_terminate_backend({})", by_server.backend));
    said.clear();
    (&by_server.stream).read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("terminating connection"), "{said:?}");
    drop(by_server);
    wait_until("the relay is gone", || relays(&daemon).is_empty());
    wait_until("the status says so", || daemon.says(&["status"]).contains("\nrelays=0\n"));
}

#[test]
fn what_a_caller_says_last_arrives_also_if_it_leaves_at_once() {
    let Some((authority, server)) = encrypted("what a caller says last arrives") else { return };
    server.execute("CREATE TABLE said (it int); GRANT ALL ON said TO orders");
    let daemon = daemon(&server, &authority.certificate(), "");
    let mut handed_out = get(&daemon);
    let insert = query("INSERT INTO said SELECT generate_series(1, 1000)");
    handed_out.stream.write_all(&insert).unwrap();
    let backend = handed_out.backend.clone();
    drop(handed_out);
    let over = format!("SELECT pid FROM pg_stat_activity WHERE pid = {backend}");
    wait_until("the session is over", || server.execute(&over).is_empty());
    assert_eq!(server.execute("SELECT count(*) FROM said"), "1000");
    wait_until("the relay is gone", || relays(&daemon).is_empty());
}

/// A statement as a client of PostgreSQL sends it.
fn query(statement: &str) -> Vec<u8> {
    let length = u32::try_from(4 + statement.len() + 1).unwrap().to_be_bytes();
    [b"Q", &length[..], statement.as_bytes(), b"\0"].concat()
}

#[test]
fn a_half_closed_connection_lives_as_long_as_the_other_half() {
    let Some((authority, server)) = encrypted("a half-closed connection lives on") else { return };
    server.execute("CREATE TABLE said (it int); GRANT ALL ON said TO orders");
    let daemon = daemon(&server, &authority.certificate(), "");
    let (mut writes, mut reads) = (get(&daemon), get(&daemon));
    // Longer than what is left of a caller that has gone may take.
    let sleep = query("SELECT 'awake' FROM pg_sleep(11)");
    writes.stream.shutdown(Shutdown::Read).unwrap();
    writes.stream.write_all(&[query("SELECT 1"), sleep.clone()].concat()).unwrap();
    reads.stream.write_all(&sleep).unwrap();
    reads.stream.shutdown(Shutdown::Write).unwrap();
    let mut said = Vec::new();
    reads.stream.read_to_end(&mut said).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("awake"), "{said:?}");
    let idle =
        format!("SELECT 1 FROM pg_stat_activity WHERE pid = {} AND state = 'idle'", writes.backend);
    wait_until("the server has answered", || !server.execute(&idle).is_empty());
    writes.stream.write_all(&query("INSERT INTO said VALUES (7)")).unwrap();
    wait_until("it is told more", || server.execute("SELECT it FROM said") == "7");
    drop((writes, reads));
    wait_until("the relays are gone", || relays(&daemon).is_empty());
}

#[test]
fn a_user_has_so_many_relays_and_each_that_ends_makes_room() {
    let what = "a user has so many relays";
    let Some(authority) = Authority::new(what) else { return };
    let ca = authority.certificate();
    let [own, client] = [("server", HERE), ("orders", "")]
        .map(|(subject, name)| authority.sign(subject, name, VALID));
    let Some(server) = Redis::start_encrypted(what, &[], &own, &ca) else { return };
    let keys = format!(
        ", client_certificate = \"{}\", client_key = \"file:{}\"",
        client.certificate.display(),
        client.key.display()
    );
    let lines = format!("{}\nready = 4\n{OPERATORS}", tls(&ca, &keys));
    let daemon = Daemon::open().policy(&connecting(&tcp(server.port()), &lines)).start();
    let counted = |number| {
        let line = format!("\nrelays={number}\n");
        wait_until("the status counts them", || daemon.says(&["status"]).contains(&line));
    };
    counted(4);
    let mut peer = daemon.connect();
    let mut held: Vec<_> =
        (0..MOST_OF_A_USER).map(|_| connection(peer.get(SLOT), &daemon)).collect();
    assert_eq!(peer.get(SLOT).errno(), libc::EBUSY);
    // Those that are ready are nobody's.
    counted(MOST_OF_A_USER + 4);
    held.pop();
    // The helper has to end first.
    wait_until("there is room", || match peer.get(SLOT) {
        Answer::Failed(errno, _) => {
            assert_eq!(errno, libc::EBUSY);
            false
        }
        _ => true,
    });
}

#[test]
fn a_relay_outlives_a_worker_and_a_reload_and_ends_with_the_broker() {
    let Some((authority, server)) = encrypted("a relay ends with the broker") else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        let mut daemon = daemon(&server, &authority.certificate(), "");
        let mut handed_out = get(&daemon);
        let relay = relays(&daemon)[0];
        daemon.kill_worker();
        daemon.reload("");
        assert_eq!(handed_out.asks("SELECT 1"), "1");
        match signal {
            Signal::KILL => daemon.kill_both(),
            signal => drop(daemon.end(signal)),
        }
        assert_eq!(handed_out.stream.read(&mut [0]).unwrap(), 0, "{signal:?}");
        wait_until("the relay is gone", || !process::runs(relay));
        wait_until("the session is over", || handed_out.is_over(&server));
    }
}

#[test]
fn a_relay_ends_with_the_lease_of_its_connection() {
    let Some((authority, server)) = encrypted("a relay ends with its lease") else { return };
    let builder = Daemon::open();
    let password = builder.directory().private_file("password", "hunter2-geheim");
    let orders = logged_in(&tcp(server.port()), &password, "");
    let tls = tls(&authority.certificate(), "");
    let policy = format!("{orders}{tls}\nrevocable = true\n{OPERATORS}");
    let daemon = builder.policy(&policy).start();
    let mut handed_out = get(&daemon);
    let mut operator = Broker::connect_to(daemon.socket()).unwrap();
    let listed = daemon.says(&["leases"]);
    assert!(listed.contains(" relay=relayed peer=\""), "{listed}");
    operator.end_lease(handed_out.lease.unwrap()).unwrap();
    assert_eq!(handed_out.stream.read(&mut [0]).unwrap(), 0);
    ends(&daemon, &server, &handed_out);
    // The server ends it.
    let by_server = get(&daemon);
    server.execute(&format!("SELECT pg_terminate_backend({})", by_server.backend));
    wait_until("the lease is over", || daemon.says(&["leases"]).trim().is_empty());
    wait_until("the relay is gone", || relays(&daemon).is_empty());
}

#[test]
fn an_unmodified_psql_runs_over_a_relay() {
    let Some((authority, server)) = encrypted("an unmodified psql runs over a relay") else {
        return;
    };
    let daemon = daemon(&server, &authority.certificate(), "");
    let psql = server.program("psql");
    let query = "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let said = daemon.says(&["exec", "1/5=postgres", "--", psql.to_str().unwrap(), "-XAtc", query]);
    assert_eq!(said.trim_end(), "orders|t");
    wait_until("the relay is gone", || relays(&daemon).is_empty());
}
