//! What the audit trail says of connections: who had which one, from when to when.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use fdbroker::Broker;
use fdbroker_tests::{
    Builder, Daemon, HelperProcess, Line, Peer, Postgres, SmallDisk, needs_root, skip, wait_for,
    wait_until,
};
use fdbroker_wire::connection::{BACKEND_KEY, BACKEND_PID, LEASE};
use serde_json::Value;

use crate::pages::example_of;
use crate::resource::{SLOT, connecting, connection, logged_in, tcp};

const TRUST: &str = "host all all 127.0.0.1/32 trust";
const HOLDER: u32 = 64041;
const OTHER: u32 = 64042;

/// Only root may operate.
const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nuser = 0\n";

/// The records in a file.
struct Trail(PathBuf);

/// What the trail says of one connection.
#[derive(PartialEq, Eq, Debug)]
struct Held {
    uid: u64,
    pid: u64,
    from: String,
    to: Option<String>,
    ended: Option<String>,
}

impl Trail {
    fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.0).unwrap();
        // A full disk takes a part of a line.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn grants(&self) -> Vec<Value> {
        let is_grant = |record: &Value| {
            text(record, "KIND") == "decision" && text(record, "VERDICT") == "granted"
        };
        self.records().into_iter().filter(is_grant).collect()
    }

    fn ends(&self) -> Vec<Value> {
        self.records().into_iter().filter(|record| text(record, "KIND") == "lease-end").collect()
    }

    /// The end of a lease, once it is there; there is one.
    #[track_caller]
    fn end_of(&self, lease: u64) -> Value {
        let of = |record: &Value| number(record, "LEASE") == Some(lease);
        let found = || self.ends().into_iter().filter(of).collect::<Vec<_>>();
        wait_until("the end is recorded", || !found().is_empty());
        let found = found();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    /// Who had the session with this number at this server, from the trail alone.
    #[track_caller]
    fn who_had(&self, peer: &str, session: u64) -> Held {
        let has_it = |record: &Value| {
            text(record, "PEER") == peer && number(record, "SESSION") == Some(session)
        };
        let grants: Vec<_> = self.grants().into_iter().filter(has_it).collect();
        assert_eq!(grants.len(), 1, "{grants:?}");
        let lease = number(&grants[0], "LEASE").unwrap();
        let end = self.ends().into_iter().find(|end| number(end, "LEASE") == Some(lease));
        if let Some(end) = &end {
            assert_eq!([number(end, "UID"), number(end, "PID")], who(&grants[0]), "{end}");
            assert!(text(end, "SINCE") <= time(end), "{end}");
            assert_eq!((text(end, "PEER"), number(end, "SESSION")), (peer, Some(session)));
        }
        let [uid, pid] = who(&grants[0]).map(Option::unwrap);
        let from = time(&grants[0]).to_owned();
        let to = end.as_ref().map(|end| time(end).to_owned());
        Held { uid, pid, from, to, ended: end.map(|end| text(&end, "ENDED").to_owned()) }
    }
}

fn field<'r>(record: &'r Value, name: &str) -> &'r Value {
    &record[format!("FDBROKER_{name}")]
}

fn text<'r>(record: &'r Value, name: &str) -> &'r str {
    field(record, name).as_str().unwrap_or_default()
}

fn number(record: &Value, name: &str) -> Option<u64> {
    field(record, name).as_u64()
}

fn who(record: &Value) -> [Option<u64>; 2] {
    [number(record, "UID"), number(record, "PID")]
}

/// To the millisecond.
fn time(record: &Value) -> &str {
    &record["time"].as_str().unwrap()[..23]
}

/// The time of a server, as the trail has it.
fn now(server: &Postgres) -> String {
    let format = r#"YYYY-MM-DD"T"HH24:MI:SS.MS"#;
    server.execute(&format!("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', '{format}')"))
}

fn policy(server: &Postgres, password: &Path, terms: &str) -> String {
    format!("{}\n{terms}\n{OPERATORS}", logged_in(&tcp(server.port()), password, ""))
}

/// A broker to be that hands out connections of `orders` on these terms, and its trail.
fn builder(server: &Postgres, terms: &str) -> (Builder, Trail) {
    server.execute("CREATE ROLE orders LOGIN");
    let builder = Daemon::open();
    let trail = Trail(builder.directory().join("audit.log"));
    let password = builder.directory().private_file("password", "hunter2");
    let builder = builder.policy(&policy(server, &password, terms));
    (builder.argument("--audit-file").argument(&trail.0), trail)
}

/// Gets a connection: the number of its lease, that of the session, and what cancels a request.
#[track_caller]
fn get(peer: &mut Peer, daemon: &Daemon) -> (u64, u64, Vec<u8>) {
    let (stream, payload) = connection(peer.get(SLOT), daemon);
    // The holder has it, too.
    drop(stream);
    let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
    let number = |name| connection.text(name).unwrap().parse().unwrap();
    (number(LEASE), number(BACKEND_PID), connection.get(BACKEND_KEY).unwrap().to_vec())
}

/// The command that the page shows prints these, and nothing else.
#[track_caller]
fn page_says(trail: &Trail, session: u64, lines: &[&str]) {
    let command = example_of("audit.md", "## Who had which connection", "sh");
    let command = command.replace("4711", &session.to_string());
    let command = command.replace("/var/log/fdbroker/audit.log", trail.0.to_str().unwrap());
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    if output.status.code() == Some(127) {
        return skip("the command on the page", "there is no jq");
    }
    let said = String::from_utf8(output.stdout).unwrap();
    let is_as_expected = said.lines().zip(lines).all(|(line, expected)| line.contains(expected));
    assert!(is_as_expected && said.lines().count() == lines.len(), "{said}");
}

fn operator(daemon: &Daemon) -> Broker {
    Broker::connect_to(daemon.socket()).unwrap()
}

#[test]
fn the_trail_alone_says_who_had_which_session_from_when_to_when() {
    let what = "the trail alone says who had which session";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let (builder, trail) = builder(&server, "revocable = true");
    let daemon = builder.start();
    let peer = format!("tcp:127.0.0.1:{}", server.port());
    let (holder, other) = (HelperProcess::user(HOLDER), HelperProcess::user(OTHER));
    let begun = now(&server);
    let mut first_peer = holder.connect(&daemon);
    let (first, first_session, key) = get(&mut first_peer, &daemon);
    let (second, second_session, _) = get(&mut first_peer, &daemon);
    let (third, third_session, _) = get(&mut other.connect(&daemon), &daemon);
    let (fourth, fourth_session, _) = get(&mut other.connect(&daemon), &daemon);
    let all_had = now(&server);

    let given_back = daemon.run_as(HOLDER, &["revoke", &first.to_string()]);
    assert_eq!(given_back.status, 0, "{}", given_back.err);
    operator(&daemon).end_lease(third).unwrap();
    server.execute(&format!("SELECT pg_terminate_backend({fourth_session})"));
    [first, third, fourth].iter().for_each(|lease| drop(trail.end_of(*lease)));
    let three_gone = now(&server);
    daemon.kill_worker();
    drop(first_peer);
    holder.kill();
    trail.end_of(second);

    let had = [first_session, second_session, third_session, fourth_session]
        .map(|session| trail.who_had(&peer, session));
    let ended = had.each_ref().map(|held| held.ended.as_deref().unwrap());
    assert_eq!(ended, ["given-back", "process-ended", "revoked", "hung-up"]);
    let uids = had.each_ref().map(|held| held.uid);
    assert_eq!(uids, [HOLDER, HOLDER, OTHER, OTHER].map(u64::from));
    assert_eq!(had[1].pid, u64::from(holder.pid()));
    for held in &had {
        assert!(begun <= held.from && held.from <= all_had, "{begun} {held:?} {all_had}");
        let to = held.to.as_ref().unwrap();
        let is_second = held.ended.as_deref() == Some("process-ended");
        assert!(if is_second { *to >= three_gone } else { *to <= three_gone }, "{held:?}");
        assert!(*to >= all_had, "{held:?} {all_had}");
    }
    page_says(&trail, first_session, &["granted get 1/5 to uid 64041", "user 64041 gave it back"]);
    let by = |lease| number(&trail.end_of(lease), "BY_UID");
    assert_eq!([first, second, third, fourth].map(by), [Some(HOLDER.into()), None, Some(0), None]);
    assert_eq!(
        text(&trail.end_of(third), "REASON"),
        "user 0 revoked it, who may operate the broker"
    );
    let all = fs::read(&trail.0).unwrap();
    assert!(!all.windows(key.len()).any(|part| part == key), "the key that cancels is recorded");
    let log = daemon.log().audit();
    let granted = log.iter().find(|line| line.session == Some(first_session)).unwrap();
    assert_eq!((granted.lease, granted.peer.as_deref()), (Some(first), Some(&*peer)));
    let end =
        log.iter().find(|line| line.kind == "lease-end" && line.lease == Some(third)).unwrap();
    assert_eq!((&*end.name, &*end.slot, end.by_uid), ("orders", "1/5", Some(0)));
    assert_eq!((end.ended.as_deref(), end.rule.as_deref()), (Some("revoked"), None));
}

#[test]
fn of_a_connection_without_terms_the_grant_is_recorded_and_no_end() {
    let what = "of a connection without terms the grant is recorded";
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let (builder, trail) = builder(&server, "");
    let daemon = builder.start();
    let (stream, payload) = connection(daemon.connect().get(SLOT), &daemon);
    let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
    let grants = trail.grants();
    let grant = grants.iter().find(|grant| text(grant, "NAME") == "orders").unwrap();
    let session = connection.text(BACKEND_PID).unwrap().parse().ok();
    assert_eq!((number(grant, "SESSION"), number(grant, "LEASE")), (session, None));
    drop(stream);
    assert_eq!(trail.ends(), [Value::Null; 0]);
}

#[test]
fn the_end_of_the_broker_is_the_recorded_end_of_its_leases() {
    let what = "the end of the broker is the end of its leases";
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let (builder, trail) = builder(&server, "ttl = \"1h\"");
    let mut daemon = builder.start();
    let mut peer = daemon.connect();
    let (lease, ..) = get(&mut peer, &daemon);
    assert!(daemon.end(rustix::process::Signal::TERM).success());
    let end = trail.end_of(lease);
    assert_eq!(text(&end, "ENDED"), "broker-ended");
}

#[test]
fn an_end_that_cannot_be_recorded_happens_all_the_same_and_is_logged() {
    let what = "an end that cannot be recorded happens all the same";
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let Some(disk) = SmallDisk::mount(what) else { return };
    server.execute("CREATE ROLE orders LOGIN");
    let trail = Trail(disk.path().join("audit.log"));
    let builder = Daemon::open().setting("audit = \"required\"");
    let password = builder.directory().private_file("password", "hunter2");
    let builder = builder.policy(&policy(
        &server,
        &password,
        "revocable = true\nholders = 2\nwait = \"100ms\"",
    ));
    let daemon = builder.argument("--audit-file").argument(&trail.0).start();
    let (holder, mut other) = (HelperProcess::user(HOLDER), daemon.connect());
    let (lease, session, _) = get(&mut holder.connect(&daemon), &daemon);
    let gone = format!("SELECT pid FROM pg_stat_activity WHERE pid = {session}");
    disk.fill();
    wait_until("the last page is full", || other.add((1, 9), b"x").errno() == libc::EIO);
    let refused = operator(&daemon).end_lease(lease).unwrap_err();
    assert!(refused.to_string().contains("audit trail"), "{refused}");
    assert!(!server.execute(&gone).is_empty(), "it ends unrecorded");
    holder.kill();
    let is_end = |line: &Line| line.ended.as_deref() == Some("process-ended");
    let end = daemon.log().wait_for("the log has it", is_end);
    assert_eq!((&*end.kind, end.lease), ("lease-end", Some(lease)));
    wait_until("the server has ended the session", || server.execute(&gone).is_empty());
    assert_eq!(other.get(SLOT).errno(), libc::EIO, "a connection is handed out unrecorded");
    wait_until("it is no lease any more", || operator(&daemon).leases().unwrap().is_empty());
    assert_eq!(trail.ends(), [Value::Null; 0]);
    disk.make_room();
    let (next, ..) = wait_for("a connection is handed out", || match other.get(SLOT) {
        answer if answer.errno() != 0 => None,
        answer => Some(connection(answer, &daemon)).map(|(_, payload)| {
            let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
            (connection.text(LEASE).unwrap().parse().unwrap(), ())
        }),
    });
    operator(&daemon).end_lease(next).unwrap();
    trail.end_of(next);
    daemon.log().wait_for("it is said what is missing", |line| {
        line.message.starts_with("the audit file can be written again; it lacks")
    });
}

/// More than the event loop takes at once.
const MANY: usize = 300;

#[test]
fn many_leases_that_end_at_once_are_recorded_each_and_others_are_served() {
    let what = "many leases that end at once are recorded";
    if !needs_root(what) {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let accepts = std::thread::spawn(move || server.incoming().take(MANY).collect::<Vec<_>>());
    let builder = Daemon::open().policy(&connecting(&tcp(port), "revocable = true"));
    let trail = Trail(builder.directory().join("audit.log"));
    let daemon = builder.argument("--audit-file").argument(&trail.0).start();
    let holder = HelperProcess::user(HOLDER);
    let mut peer = holder.connect(&daemon);
    for _ in 0..MANY {
        drop(connection(peer.get(SLOT), &daemon));
    }
    let _servers = accepts.join().unwrap();
    holder.kill();
    let mut other = daemon.connect();
    other.add((1, 9), b"served").done();
    wait_until("all ends are recorded", || trail.ends().len() == MANY);
    let mut leases: Vec<_> = trail.ends().iter().map(|end| number(end, "LEASE").unwrap()).collect();
    leases.sort_unstable();
    leases.dedup();
    assert_eq!(leases.len(), MANY);
    assert!(trail.ends().iter().all(|end| text(end, "ENDED") == "process-ended"));
}
