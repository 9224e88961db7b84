//! Leases: who has a connection on terms, and every way in which that ends.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use fdbroker::{Broker, Error};
use fdbroker_tests::postgres::select;
use fdbroker_tests::stuck::HeldByPage;
use fdbroker_tests::{
    Daemon, Directory, HelperProcess, Line, PATIENCE, Peer, Postgres, needs_root, process, request,
    skip, wait_for, wait_until,
};
use fdbroker_wire::connection::{BACKEND_PID, LEASE};
use fdbroker_wire::opcode;
use rustix::process::Signal;

use crate::resource::{SLOT, connecting, connection, logged_in, tcp};

const TRUST: &str = "host all all 127.0.0.1/32 trust";
const HOLDER: u32 = 64041;
const STRANGER: u32 = 64042;

/// Only root may operate.
pub const OPERATORS: &str = "[[rules]]\nid = \"operators\"\nallow = [\"operate\"]\nuser = 0\n";

/// A broker that hands out connections of `orders` on these terms.
fn daemon(server: &Postgres, terms: &str) -> Daemon {
    server.execute("CREATE ROLE orders LOGIN");
    let builder = Daemon::open();
    builder.directory().private_file("password", "hunter2");
    let policy = policy(server, builder.directory(), terms);
    builder.policy(&policy).start()
}

fn policy(server: &Postgres, directory: &Directory, terms: &str) -> String {
    let orders = logged_in(&tcp(server.port()), &directory.join("password"), "");
    format!("{orders}\n{terms}\n{OPERATORS}")
}

fn operator(daemon: &Daemon) -> Broker {
    Broker::connect_to(daemon.socket()).unwrap()
}

fn leases(daemon: &Daemon) -> Vec<String> {
    operator(daemon).leases().unwrap().lines().map(str::to_owned).collect()
}

/// A connection that was handed out, and what its payload says of it.
struct HandedOut {
    stream: TcpStream,
    lease: u64,
    backend: String,
}

#[track_caller]
fn get(peer: &mut Peer, daemon: &Daemon) -> HandedOut {
    let (stream, payload) = connection(peer.get(SLOT), daemon);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
    let backend = connection.text(BACKEND_PID).unwrap().to_owned();
    HandedOut { stream, lease: connection.text(LEASE).unwrap().parse().unwrap(), backend }
}

impl HandedOut {
    fn works(&self) -> bool {
        select(&self.stream, &[], "SELECT 1").is_ok_and(|said| said == "1")
    }

    /// Waits until it is shut down, and the server has noticed.
    #[track_caller]
    fn ends(&mut self, server: &Postgres) {
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
        let query = format!("SELECT pid FROM pg_stat_activity WHERE pid = {}", self.backend);
        wait_until("the server has ended the session", || server.execute(&query).is_empty());
    }
}

/// What the list says of a connection that a user holds, but for how long it has been held.
fn told(held: &HandedOut, holder: &HelperProcess, server: &Postgres) -> String {
    format!(
        "lease={} slot=1/5 name=\"orders\" uid={HOLDER} pid={} ends_in=never relay=direct \
         peer=\"tcp:127.0.0.1:{}\" session={}",
        held.lease,
        holder.pid(),
        server.port(),
        held.backend
    )
}

fn without_time(line: &str) -> String {
    let words = line.split(' ').filter(|word| !word.starts_with("held="));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_lease_is_listed_and_ends_with_the_process_that_asked_for_whoever_has_the_connection() {
    let what = "a lease ends with the process that asked";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "revocable = true");
    let holder = HelperProcess::user(HOLDER);
    // It came to another process too, this one.
    let mut handed_out = get(&mut holder.connect(&daemon), &daemon);
    let listed = leases(&daemon);
    assert_eq!(listed.len(), 1);
    assert_eq!(without_time(&listed[0]), told(&handed_out, &holder, &server));
    assert!(handed_out.works());
    daemon.kill_worker();
    assert_eq!(leases(&daemon).len(), 1, "it outlives the worker");
    assert!(handed_out.works());
    drop(holder);
    handed_out.ends(&server);
    wait_until("the lease has ended", || leases(&daemon).is_empty());
    daemon.log().wait_for("the log says so", |line| {
        line.kind == "lease-end" && line.reason == "its process has ended"
    });
}

#[test]
fn a_connection_is_revoked_by_its_own_user_and_by_an_operator_and_by_nobody_else() {
    let what = "a connection is revoked by its own user and by an operator";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "revocable = true");
    let holder = HelperProcess::user(HOLDER);
    let mut peer = holder.connect(&daemon);
    let (mut first, mut second) = (get(&mut peer, &daemon), get(&mut peer, &daemon));
    for other in [first.lease, 999] {
        let said = daemon.run_as(STRANGER, &["revoke", &other.to_string()]);
        assert_eq!(said.status, 3, "{}", said.err);
    }
    assert!(first.works());
    assert_eq!(daemon.run_as(HOLDER, &["revoke", &first.lease.to_string()]).status, 0);
    first.ends(&server);
    let reason = format!("lease {} has ended", first.lease);
    let record = daemon.log().wait_for("it is recorded", |line| line.reason == reason);
    let Line { verdict, right, slot, rule, uid, .. } = record;
    assert_eq!((&*verdict, &*right, &*slot, rule, uid), ("granted", "operate", "", None, HOLDER));
    assert!(second.works());
    operator(&daemon).end_lease(second.lease).unwrap();
    second.ends(&server);
    let gone = operator(&daemon).end_lease(second.lease).unwrap_err();
    assert!(matches!(gone, Error::Reported { .. }), "{gone}");
    assert!(leases(&daemon).is_empty());
}

#[test]
fn another_user_ends_no_lease_by_the_connection_of_its_holder() {
    let what = "another user ends no lease by the connection of its holder";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "revocable = true");
    let (holder, other) = (HelperProcess::user(HOLDER), HelperProcess::user(STRANGER));
    let handed_out = get(&mut holder.connect(&daemon), &daemon);
    let holders = holder.open_connection(daemon.socket()).unwrap();
    let mut writer = other.take_over(holders.share().unwrap());
    assert_eq!(writer.ask(&request::hello(), &[]).errno(), 0);
    let end = request::extended(opcode::END_LEASE, &handed_out.lease.to_ne_bytes());
    assert_eq!(writer.ask(&end, &[]).errno(), libc::EACCES);
    let list = request::extended(opcode::LEASES, &0_u64.to_ne_bytes());
    assert_eq!(writer.ask(&list, &[]).errno(), libc::EACCES, "it sees the leases of the holder");
    assert!(handed_out.works());
    let mut own = holder.take_over(holders.share().unwrap());
    own.ask(&end, &[]);
    wait_until("the holder itself ends it", || leases(&daemon).is_empty());
    let end = daemon.log().wait_for("it is recorded", |line| line.kind == "lease-end");
    assert_eq!((end.by_uid, end.ended.as_deref()), (Some(HOLDER), Some("given-back")));
}

#[test]
fn a_lease_is_of_the_user_and_the_process_that_wrote_the_request() {
    let what = "a lease is of the process that wrote the request";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "revocable = true");
    let (connects, writes) = (HelperProcess::user(HOLDER), HelperProcess::user(STRANGER));
    let socket = connects.open_connection(daemon.socket()).unwrap();
    let mut writer = writes.take_over(socket.share().unwrap());
    let mut handed_out = get(&mut writer, &daemon);
    let listed = leases(&daemon);
    let expected = format!(" uid={STRANGER} pid={} ", writes.pid());
    assert!(listed.len() == 1 && listed[0].contains(&expected), "{listed:?}");
    let number = handed_out.lease.to_string();
    assert_eq!(daemon.run_as(HOLDER, &["revoke", &number]).status, 3);
    assert_eq!(daemon.run_as(STRANGER, &["revoke", &number]).status, 0);
    handed_out.ends(&server);
    let end = daemon.log().wait_for("it is recorded", |line| line.kind == "lease-end");
    assert_eq!((end.uid, end.by_uid), (STRANGER, Some(STRANGER)));
}

#[test]
fn a_user_sees_its_own_leases_and_an_operator_sees_all() {
    let what = "a user sees its own leases";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "revocable = true");
    let (holder, other) = (HelperProcess::user(HOLDER), HelperProcess::user(STRANGER));
    let none = daemon.run_as(HOLDER, &["leases"]);
    assert_eq!((none.status, &*none.out), (0, ""), "{}", none.err);
    let own = get(&mut holder.connect(&daemon), &daemon);
    let _others = [(); 2].map(|()| get(&mut other.connect(&daemon), &daemon));
    let said = daemon.run_as(HOLDER, &["leases"]);
    assert_eq!(without_time(said.out.trim_end()), told(&own, &holder, &server));
    let note = "fdbroker: these are the leases of your own user; those of others are listed only for users with the right";
    for said in [&none, &said] {
        assert!(said.err.starts_with(note) && said.err.lines().count() == 1, "{}", said.err);
    }
    let json = daemon.run_as(HOLDER, &["leases", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let [only] = json.as_array().unwrap().as_slice() else { panic!("{json}") };
    assert_eq!(
        (only["lease"].as_u64(), only["uid"].as_u64()),
        (Some(own.lease), Some(HOLDER.into()))
    );
    assert_eq!((only["ends_in"].is_null(), only["session"].to_string()), (true, own.backend));
    let all = daemon.run(&["leases"]);
    assert_eq!((all.out.lines().count(), &*all.err), (3, ""));
    let reason = "only its own leases were sent: no rule allows it";
    let record = daemon.log().wait_for("it is recorded", |line| line.reason == reason);
    let Line { verdict, right, uid, .. } = record;
    assert_eq!((&*verdict, &*right, uid), ("refused", "operate", HOLDER));
}

#[test]
fn a_user_sees_all_of_its_own_leases_however_many_there_are() {
    if !needs_root("a user sees all of its own leases") {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let accepts = std::thread::spawn(move || server.incoming().take(MANY + 2).collect::<Vec<_>>());
    let name = "o".repeat(60);
    let policy = connecting(&tcp(port), "revocable = true").replace("orders", &name);
    let daemon = Daemon::open().policy(&format!("{policy}\n{OPERATORS}")).start();
    let (holder, other) = (HelperProcess::user(HOLDER), HelperProcess::user(STRANGER));
    let (mut peer, mut others) = (holder.connect(&daemon), other.connect(&daemon));
    drop(connection(others.get(SLOT), &daemon));
    (0..MANY).for_each(|_| drop(connection(peer.get(SLOT), &daemon)));
    drop(connection(others.get(SLOT), &daemon));
    let _held = accepts.join().unwrap();
    assert_eq!(daemon.run_as(HOLDER, &["leases"]).out.lines().count(), MANY);
    assert_eq!(daemon.run_as(STRANGER, &["leases"]).out.lines().count(), 2);
}

/// A process that does nothing until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Self {
        process::signal(pid, Signal::STOP);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        process::signal(self.0, Signal::CONT);
    }
}

#[test]
fn a_request_of_a_process_that_has_ended_gets_no_lease() {
    let what = "a request of a process that has ended gets no lease";
    if !needs_root(what) {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let policy = connecting(&tcp(port), "holders = 1\nwait = \"100ms\"");
    let policy = format!("{policy}\n{OPERATORS}");
    let daemon = Daemon::open().policy(&policy).start();
    let parent = HelperProcess::user(HOLDER);
    // It has written and ended before the worker looks.
    let worker = Stopped::new(daemon.worker_pid());
    let socket = parent.open_connection(daemon.socket()).unwrap().share().unwrap();
    let mut own = parent.take_over(&socket);
    let mut child = HelperProcess::user(HOLDER).take_over(&socket);
    own.send(&request::get(SLOT), &[]);
    parent.kill();
    drop(worker);
    assert_eq!(child.answer().errno(), libc::EACCES);
    let line = daemon.log().wait_for("it says why", |line| line.reason.contains("has ended"));
    assert!(line.reason.contains("no process to tie a lease to"), "{}", line.reason);
    assert!(leases(&daemon).is_empty());
    let _next = connection(daemon.connect().get(SLOT), &daemon);
}

#[test]
fn the_connections_of_a_slot_or_of_a_user_are_revoked_at_once() {
    let what = "the connections of a slot or of a user are revoked at once";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "revocable = true");
    let (holder, other) = (HelperProcess::user(HOLDER), HelperProcess::user(STRANGER));
    let mut held = [&holder, &other, &other].map(|user| get(&mut user.connect(&daemon), &daemon));
    let user = HOLDER.to_string();
    let refused = daemon.run_as(STRANGER, &["revoke", "--user", &user]);
    assert_eq!(refused.status, 3, "{}", refused.err);
    let expected = format!("revoke --user {user}: refused: ");
    assert!(refused.err.contains(&expected), "{}", refused.err);
    assert!(refused.err.contains("you have no lease there"), "{}", refused.err);
    let refused = daemon.run_as(STRANGER, &["revoke", "orders"]);
    assert_eq!(refused.status, 3, "{}", refused.err);
    let cure = format!(
        "the right `operate`; end your own by their numbers: fdbroker revoke {} {}",
        held[1].lease, held[2].lease
    );
    assert!(refused.err.contains("revoke orders: refused: "), "{}", refused.err);
    assert!(refused.err.contains(&cure), "{}", refused.err);
    assert!(held.iter().all(HandedOut::works), "a refusal ends a lease");
    let said = daemon.says(&["revoke", "--user", &user, "orders"]);
    assert_eq!(said, format!("lease {} has ended\n", held[0].lease));
    held[0].ends(&server);
    assert!(held[1].works());
    let of_others = daemon.run(&["revoke", "orders", "--user", "4242"]);
    assert_eq!(of_others.status, 4, "{}", of_others.err);
    assert!(of_others.err.contains("belong to other users"), "{}", of_others.err);
    daemon.says(&["revoke", "orders"]);
    held[1..].iter_mut().for_each(|one| one.ends(&server));
    let none = daemon.run(&["revoke", "orders"]);
    assert_eq!(none.status, 4, "{}", none.err);
    assert!(
        none.err.contains("revoke orders: nobody has such a lease; what was handed out before"),
        "{}",
        none.err
    );
    let both = daemon.run(&["revoke", "17", "--user", &user]);
    assert_eq!(both.status, 2, "{}", both.err);
    let unknown = daemon.run(&["revoke", "order"]);
    assert!(unknown.err.contains("order") && !unknown.err.contains("digit"), "{}", unknown.err);
}

#[test]
fn a_lease_ends_when_the_server_hangs_up_and_when_its_time_is_up() {
    let what = "a lease ends when the server hangs up";
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "ttl = \"2s\"");
    let mut peer = daemon.connect();
    let (first, mut second) = (get(&mut peer, &daemon), get(&mut peer, &daemon));
    server.execute(&format!("SELECT pg_terminate_backend({})", first.backend));
    let end_of = |lease| {
        let is_end = |line: &Line| line.kind == "lease-end" && line.lease == Some(lease);
        daemon.log().wait_for("its end is recorded", is_end).reason
    };
    assert_eq!(end_of(first.lease), "the connection has ended");
    second.ends(&server);
    assert_eq!(end_of(second.lease), "its time is up (`ttl`)");
    assert!(leases(&daemon).is_empty());
}

/// So many as the threads that open resources, and some more.
const HELD: usize = 300;

#[test]
fn leases_that_cannot_be_ended_keep_nobody_from_opening_something() {
    let what = "leases whose sockets are locked";
    if !needs_root(what) {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let null = "[resources.null]\nslot = \"open/8\"\ndevice = \"/dev/null\"\n";
    let accepts = std::thread::spawn(move || server.incoming().take(HELD).collect::<Vec<_>>());
    let policy = connecting(&tcp(port), "revocable = true");
    let daemon = Daemon::open().policy(&format!("{policy}\n{null}\n{OPERATORS}")).start();
    let mut peer = daemon.connect();
    let (mut held, mut numbers) = (Vec::new(), Vec::new());
    for _ in 0..HELD {
        let (stream, payload) = connection(peer.get(SLOT), &daemon);
        let number =
            fdbroker_wire::Connection::parse(&payload).unwrap().text(LEASE).unwrap().parse();
        numbers.push(number.unwrap());
        match HeldByPage::locked(stream.into()) {
            Ok(locked) => held.push(locked),
            Err(error) => return skip(what, &error.to_string()),
        }
    }
    let _ends = accepts.join().unwrap();
    let mut operator = operator(&daemon);
    numbers.into_iter().for_each(|number| drop(operator.end_lease(number).unwrap()));
    assert_eq!(daemon.connect().get((1, 8)).errno(), 0, "a device is opened");
    drop(held);
}

/// More than one report has room for.
const MANY: usize = 380;

#[test]
fn all_leases_of_a_user_are_listed_and_revoked_however_many_there_are() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let accepts = std::thread::spawn(move || server.incoming().take(MANY).collect::<Vec<_>>());
    // A line of the list is long with such a name.
    let name = "o".repeat(60);
    let policy = connecting(&tcp(port), "revocable = true").replace("orders", &name);
    let daemon = Daemon::open().policy(&format!("{policy}\n{}", crate::tls::OPERATORS)).start();
    let mut peer = daemon.connect();
    // The lease does not end when the caller's copy is closed.
    (0..MANY).for_each(|_| drop(connection(peer.get(SLOT), &daemon)));
    let _held = accepts.join().unwrap();
    let listed = leases(&daemon);
    assert_eq!(listed.len(), MANY);
    let end = format!(" relay=direct peer=\"tcp:127.0.0.1:{port}\" session=none");
    assert!(listed.iter().all(|line| line.ends_with(&end)), "{}", listed[0]);
    let user = rustix::process::getuid().as_raw().to_string();
    let said = daemon.says(&["revoke", "--user", &user]);
    assert_eq!(said.lines().count(), MANY);
    assert!(leases(&daemon).is_empty());
}

#[test]
fn so_many_may_hold_a_connection_and_the_next_one_waits_until_one_is_given_back() {
    let what = "so many may hold a connection";
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "holders = 2\nwait = \"1h\"");
    let mut peer = daemon.connect();
    let first = get(&mut peer, &daemon);
    let _second = get(&mut peer, &daemon);
    let mut next = daemon.connect();
    next.send_and_be_read(&fdbroker_tests::request::get(SLOT));
    assert!(!next.answers_within(std::time::Duration::from_millis(200)));
    operator(&daemon).end_lease(first.lease).unwrap();
    let (stream, _) = connection(next.answer(), &daemon);
    assert!(select(&stream, &[], "SELECT 1").is_ok());
    daemon.reload(&policy(&server, daemon.directory(), "holders = 2\nwait = \"100ms\""));
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EBUSY, "both places are still taken");
    daemon.reload(&policy(&server, daemon.directory(), "holders = 3\nwait = \"100ms\""));
    let _third = get(&mut peer, &daemon);
    daemon.reload(&policy(&server, daemon.directory(), "holders = 1\nwait = \"100ms\""));
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EBUSY);
    let said = daemon.run(&["get", "orders"]).err;
    let expected = "all 1 are held (`holders`), and none was given back within 100 ms (`wait`)";
    assert!(said.contains(expected) && said.contains("answered EBUSY"), "{said}");
    assert_eq!(leases(&daemon).len(), 3, "what was handed out before lives on");
}

#[test]
fn one_user_leaves_the_last_places_among_the_holders_to_others() {
    let what = "one user leaves the last places among the holders to others";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "holders = 8\nwait = \"100ms\"");
    let users = [HOLDER, STRANGER, STRANGER + 1].map(HelperProcess::user);
    let [mut many, mut few, mut other] = users.each_ref().map(|user| user.connect(&daemon));
    let mut held: Vec<_> = (0..7).map(|_| get(&mut many, &daemon)).collect();
    assert_eq!(many.get(SLOT).errno(), libc::EBUSY, "the last one is for others");
    let reason = daemon.log().wait_for("it is recorded", |line| line.reason.contains("the last"));
    let expected =
        "all 8 are held (`holders`) or the last 1 are left, for users who have fewer than 2";
    assert!(reason.reason.contains(expected), "{}", reason.reason);
    let last = get(&mut few, &daemon);
    assert_eq!(other.get(SLOT).errno(), libc::EBUSY, "all are held");
    operator(&daemon).end_lease(last.lease).unwrap();
    assert_eq!(many.get(SLOT).errno(), libc::EBUSY);
    let _others = wait_for("its place is free", || match other.get(SLOT) {
        answer if answer.errno() == libc::EBUSY => None,
        answer => Some(connection(answer, &daemon)),
    });
    held.truncate(5);
    drop(many);
    users[0].kill();
    wait_until("its leases have ended", || leases(&daemon).len() == 1);
    held.extend((0..6).map(|_| get(&mut few, &daemon)));
    assert_eq!(few.get(SLOT).errno(), libc::EBUSY, "it has many now");
}

#[test]
fn a_caller_that_leaves_while_it_waits_keeps_no_place() {
    let what = "a caller that leaves while it waits keeps no place";
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let daemon = daemon(&server, "holders = 1\nwait = \"1h\"");
    let first = get(&mut daemon.connect(), &daemon);
    let mut leaves = daemon.connect();
    leaves.send_and_be_read(&fdbroker_tests::request::get(SLOT));
    // The broker has asked its supervisor when another session has been answered after it.
    daemon.connect().add((1, 9), b"after it").done();
    drop(leaves);
    let mut next = daemon.connect();
    next.send_and_be_read(&fdbroker_tests::request::get(SLOT));
    operator(&daemon).end_lease(first.lease).unwrap();
    let (stream, _) = connection(next.answer(), &daemon);
    assert!(select(&stream, &[], "SELECT 1").is_ok());
    assert_eq!(leases(&daemon).len(), 1);
}

#[test]
fn a_caller_that_waits_for_a_place_gets_it_of_the_broker_that_takes_over() {
    let what = "a caller waits for a place while the broker is replaced";
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let terms = "holders = 1\nwait = \"1h\"";
    let mut former = daemon(&server, terms);
    let first = get(&mut former.connect(), &former);
    let mut waits = Broker::connect_to(former.socket()).unwrap();
    let slot = fdbroker::Slot::new(SLOT.0, SLOT.1).unwrap();
    let waiting = std::thread::spawn(move || waits.get(slot).map(|deposit| deposit.payload));
    // It is not given a place before, as long as the first one has it.
    former.connect().add((1, 9), b"after it").done();
    let policy = policy(&server, former.directory(), terms);
    let newer = Daemon::with_policy(&policy).socket(former.socket().to_owned());
    let daemon = newer.argument("--replace").start();
    former.is_replaced();
    assert!(!waiting.is_finished(), "{:?}", waiting.join());
    operator(&daemon).end_lease(first.lease).unwrap();
    let payload = waiting.join().unwrap().unwrap();
    let connection = fdbroker_wire::Connection::parse(&payload).unwrap();
    assert_ne!(connection.text(LEASE), Some(first.lease.to_string().as_str()));
}

#[test]
fn a_lease_goes_on_with_a_broker_that_takes_over() {
    let what = "a lease goes on with a broker that takes over";
    if !needs_root(what) {
        return;
    }
    let Some(server) = Postgres::start(what, TRUST) else { return };
    let terms = "revocable = true\nholders = 1\nwait = \"100ms\"";
    let mut former = daemon(&server, terms);
    let holder = HelperProcess::user(HOLDER);
    let mut handed_out = get(&mut holder.connect(&former), &former);
    let policy = policy(&server, former.directory(), terms);
    let newer = Daemon::with_policy(&policy).socket(former.socket().to_owned());
    let daemon = newer.argument("--replace").start();
    former.is_replaced();
    let listed = leases(&daemon);
    let expected = told(&handed_out, &holder, &server);
    assert!(listed.len() == 1 && without_time(&listed[0]) == expected, "{listed:?}");
    assert!(handed_out.works());
    let mut other = daemon.connect();
    assert_eq!(other.get(SLOT).errno(), libc::EBUSY, "its place is taken");
    let number = handed_out.lease;
    holder.kill();
    handed_out.ends(&server);
    wait_until("the lease has ended", || leases(&daemon).is_empty());
    let end = daemon.log().wait_for("it is recorded", |line| line.kind == "lease-end");
    let peer = format!("tcp:127.0.0.1:{}", server.port());
    assert_eq!((end.peer, end.session), (Some(peer), handed_out.backend.parse().ok()));
    let next = wait_for("its place is free", || match other.get(SLOT) {
        answer if answer.errno() == libc::EBUSY => None,
        answer => Some(connection(answer, &daemon).1),
    });
    let next = fdbroker_wire::Connection::parse(&next).unwrap().text(LEASE).unwrap().to_owned();
    let next = next.parse::<u64>().unwrap();
    assert!(next > number, "a number is used twice");
    // Nor is one whose lease has ended already.
    operator(&daemon).end_lease(next).unwrap();
    let newer = Daemon::with_policy(&policy).socket(daemon.socket().to_owned());
    let last = newer.argument("--replace").start();
    let mut daemon = daemon;
    daemon.is_replaced();
    let (_, last) = connection(last.connect().get(SLOT), &last);
    let last = fdbroker_wire::Connection::parse(&last).unwrap().text(LEASE).unwrap().to_owned();
    assert!(last.parse::<u64>().unwrap() > next, "the number of a lease that ended is used again");
}
