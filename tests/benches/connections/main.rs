//! What an authenticated connection costs its caller, beside a log-in of its own; and what `exec` takes of the
//! throughput of an unmodified program.
//!
//! `cargo bench -p fdbroker-tests --bench connections`, with a real PostgreSQL server, in turns in one run:
//! - a GET of a connection that is ready, a GET of one that is made for it, connecting and logging in with
//!   SCRAM-SHA-256 as a program does by itself, and a GET of a deposit;
//! - queries over a connection that was handed over, and over one of the program's own, without TLS and with it;
//! - programs that measure throughput: straight to the server, by a relay that does nothing but copy, by
//!   `fdbroker exec`, and for PostgreSQL by pgbouncer. The relay that only copies is the bound for any relay.
//!
//! `--quick`, and `cargo test`, only make sure that it runs.

mod bare_relay;
mod bouncer;
mod encrypted;
mod own_session;
mod queries;
mod throughput;

use std::fmt::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fdbroker::{Broker, Slot};
use fdbroker_tests::{Builder, Daemon, Postgres, fixtures, wait_until};

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    /// Connections in one turn.
    ready: usize,
    /// Turns of each way to a server.
    turns: usize,
    /// Transactions, or requests, of each client in one turn.
    transactions: u32,
    /// Answers of a mebibyte in one turn.
    long_answers: usize,
}

const FULL: Effort =
    Effort { rounds: 15, ready: 16, turns: 7, transactions: 10_000, long_answers: 100 };
const QUICK: Effort = Effort { rounds: 1, ready: 2, turns: 1, transactions: 10, long_answers: 1 };

const PASSWORD: &str = "hunter2";
const READY: i32 = 5;
const MADE: i32 = 6;
const DEPOSIT: i32 = 7;

fn main() {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let effort = if has("--quick") || !has("--bench") { QUICK } else { FULL };
    throughput::redis(effort);
    throughput::mariadb(effort);
    encrypted::compare(effort);
    let access = "host all all 127.0.0.1/32 scram-sha-256";
    let Some(server) = Postgres::start("the bench of connections", access) else { return };
    server.execute(&format!("CREATE ROLE orders LOGIN PASSWORD '{PASSWORD}'"));
    let daemon = daemon(&server, effort);
    gets(&server, &daemon, effort);
    selects(&server, &daemon, effort);
    throughput::postgres(&server, &daemon, effort);
}

fn daemon(server: &Postgres, effort: Effort) -> Daemon {
    let builder: Builder = Daemon::open();
    let password = builder.directory().private_file("password", PASSWORD);
    let mut policy = fixtures::OPEN.to_owned();
    let kept = format!("ready = {}", effort.ready);
    for (name, index, lines) in [("orders", READY, &*kept), ("made", MADE, "")] {
        write!(
            policy,
            "\n[resources.{name}]\nslot = \"open/{index}\"\nconnect = \"tcp:127.0.0.1:{}\"\n\
             auth = {{ postgres = {{ user = \"orders\", database = \"postgres\", \
             password = \"file:{}\" }} }}\n{lines}\n",
            server.port(),
            password.display()
        )
        .unwrap();
    }
    builder.policy(&policy).start()
}

/// The time of one exchange of each kind, round by round.
fn gets(server: &Postgres, daemon: &Daemon, effort: Effort) {
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let (null, slot) =
        (std::fs::File::open("/dev/null").unwrap(), |index| Slot::new(1, index).unwrap());
    broker.add(slot(DEPOSIT), Some(null.as_fd()), b"").unwrap();
    let mut times = [const { Vec::new() }; 4];
    for round in 0..=effort.rounds {
        wait_until("all connections are ready", || sessions(server) == effort.ready);
        let (mut got, all) = (Vec::new(), 2 * effort.ready);
        let mut get = |index| got.push(broker.get(slot(index)).unwrap());
        let ready = of_each(effort.ready, || get(READY));
        // Making the next ones is not to cost the others time.
        wait_until("others are ready", || sessions(server) == all);
        let own = || own_session::log_in(server.port(), "orders", PASSWORD.as_bytes());
        let turns = [
            ready,
            of_each(effort.ready, || get(MADE)),
            of_each(effort.ready, || drop(own())),
            of_each(effort.ready, || get(DEPOSIT)),
        ];
        drop(got);
        if round > 0 {
            times.iter_mut().zip(turns).for_each(|(times, took)| times.push(took));
        }
    }
    let [ready, made, own, deposit] = times.map(median);
    println!("\n  GET of a connection that is ready   {ready:>9.1} µs");
    println!("  GET of one that is made for it      {made:>9.1} µs");
    println!("  connect and log in, by oneself      {own:>9.1} µs");
    println!("  GET of a deposit                    {deposit:>9.1} µs");
    println!("  by oneself / ready {:.1} (aim: at least 20)", own / ready);
    println!("  ready / deposit {:.2} (aim: at most 2)", ready / deposit);
}

/// The time of a query, over a connection from the broker and over one of one's own, in turns.
fn selects(server: &Postgres, daemon: &Daemon, effort: Effort) {
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let got = broker.get(Slot::new(1, MADE).unwrap()).unwrap();
    let mut handed_over = queries::handed_over(got.descriptor.unwrap());
    let mut own = own_session::log_in(server.port(), "orders", PASSWORD.as_bytes());
    let (mut own_times, mut handed_times) = (Vec::new(), Vec::new());
    for turn in 0..=effort.turns {
        let own = of_each(1, || queries::ask(&mut own, effort.transactions));
        let handed_over = of_each(1, || queries::ask(&mut handed_over, effort.transactions));
        if turn > 0 {
            own_times.push(own / f64::from(effort.transactions));
            handed_times.push(handed_over / f64::from(effort.transactions));
        }
    }
    let (own, handed_over) = (median(own_times), median(handed_times));
    println!("\n  a query over one's own connection   {own:>9.1} µs");
    println!("  over one that was handed over       {handed_over:>9.1} µs");
    println!("  throughput {:.3} (aim: at least 0.99)", own / handed_over);
}

fn of_each(number: usize, mut exchange: impl FnMut()) -> f64 {
    let began = Instant::now();
    (0..number).for_each(|_| exchange());
    let took: Duration = began.elapsed();
    took.as_secs_f64() * 1e6 / f64::from(u32::try_from(number).unwrap())
}

/// How many sessions of the role there are.
fn sessions(server: &Postgres) -> usize {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders'";
    server.execute(query).parse().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
