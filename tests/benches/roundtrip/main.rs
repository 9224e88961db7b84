//! What a request through the whole broker costs, beside the least that it could cost.
//!
//! `cargo bench -p fdbroker-tests` measures in one run, in turns:
//! - a bare SCM_RIGHTS ping-pong between two processes;
//! - GET of a deposited descriptor, ADD with a descriptor, and GET of a device that is opened for
//!   each request, all through our library and a real daemon with policy and audit on;
//! - GET with few rules and slots against GET with very many;
//! - ten thousand descriptors in bulk, against one by one and against a bare loop.
//!
//! Everything is pinned: once all on one processor, once the client on one and everybody else on
//! another. Where the two ends run decides what a wake-up costs.
//!
//! `FDBROKER_BENCH_AGAINST=PROGRAM` also measures another daemon, such as that of the commit
//! before, in turns with this one.
//!
//! `--round-trips`, `--sizes` and `--many` each ask for a part alone. `--quick`, and `cargo test`,
//! only make sure that it runs.

mod bare;
mod many;
mod measure;
mod subjects;

use fdbroker_tests::{skip, sys};
use measure::{Subject, in_turns};
use subjects::{BigBroker, SmallBroker};

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// How often each subject has its turn.
    rounds: usize,
    /// Exchanges in one turn.
    exchanges: u32,
    /// Rules and slots of the large policy.
    rules: u32,
    slots: i32,
    /// Descriptors that are fetched in bulk.
    descriptors: usize,
}

/// Names a daemon to compare with.
const AGAINST: &str = "FDBROKER_BENCH_AGAINST";

const FULL: Effort =
    Effort { rounds: 31, exchanges: 1500, rules: 10_000, slots: 100_000, descriptors: 10_000 };
const QUICK: Effort =
    Effort { rounds: 2, exchanges: 20, rules: 100, slots: 1_000, descriptors: 600 };

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if has(bare::PONG) {
        return bare::pong();
    }
    if has(bare::PONG_TO_SENDER) {
        return bare::pong_to_sender();
    }
    if has(bare::PONG_MANY) {
        return bare::pong_many();
    }
    let quick = has("--quick") || !has("--bench");
    let effort = if quick { QUICK } else { FULL };
    let processors = sys::processors();
    let one = processors[0];
    let other = processors.get(1).copied();
    let wants = |part: &str| has(part) || !PARTS.iter().any(|part| has(part));
    if other.is_none() {
        skip("two processors", "this process may run on one only");
    }
    if wants(ROUND_TRIPS) {
        round_trips(&effort, one, one);
        other.into_iter().for_each(|other| round_trips(&effort, one, other));
    }
    if wants(SIZES) {
        sizes(&effort, one, other.unwrap_or(one));
    }
    if wants(MANY) {
        many::measure(&effort, one, one);
        other.into_iter().for_each(|other| many::measure(&effort, one, other));
    }
}

/// The parts that can be asked for alone.
const PARTS: [&str; 3] = [ROUND_TRIPS, SIZES, MANY];
const ROUND_TRIPS: &str = "--round-trips";
const SIZES: &str = "--sizes";
const MANY: &str = "--many";

/// The client on one processor, all others on another or the same.
fn round_trips(effort: &Effort, client: usize, others: usize) {
    let bare = bare::Bare::start(bare::PONG);
    let to_sender = bare::Bare::start(bare::PONG_TO_SENDER);
    let mut broker = SmallBroker::start();
    sys::pin(0, client).unwrap();
    sys::pin(bare.pid(), others).unwrap();
    sys::pin(to_sender.pid(), others).unwrap();
    broker.daemon.pin(others);
    let daemon = broker.daemon.log().open();
    let mut other = std::env::var_os(AGAINST).map(|it| SmallBroker::start_other(it.into()));
    let other_log = other.as_ref().map(|other| {
        other.daemon.pin(others);
        other.daemon.log().open()
    });
    let mut subjects = vec![
        Subject::new("bare SCM_RIGHTS ping-pong", || bare.exchange()),
        Subject::new("the same, with the sender's credentials", || to_sender.exchange()),
        Subject::new("GET of a deposited descriptor", broker.get.exchange()).aim(1.25),
        Subject::new("ADD of a descriptor", broker.add.exchange()).aim(2.0),
        Subject::new("GET of a per-request device", broker.open.exchange()),
    ];
    if let Some(SmallBroker { get, add, .. }) = &mut other {
        subjects.push(Subject::new("GET, the other daemon", get.exchange()));
        subjects.push(Subject::new("ADD, the other daemon", add.exchange()));
    }
    // The audit trail must not fill the disk.
    let empty =
        || std::iter::once(&daemon).chain(&other_log).for_each(|log| log.set_len(0).unwrap());
    in_turns(&mut subjects, effort, empty);
    println!("\n{}", place(client, others));
    measure::print(&subjects);
}

/// Where everybody runs.
fn place(client: usize, others: usize) -> String {
    match client == others {
        true => format!("all on one processor ({client})"),
        false => format!("the client on processor {client}, all others on {others}"),
    }
}

/// The same request with a small and a large policy and escrow.
fn sizes(effort: &Effort, client: usize, others: usize) {
    let mut small = SmallBroker::start();
    let mut big = BigBroker::start(effort.rules, effort.slots);
    sys::pin(0, client).unwrap();
    small.daemon.pin(others);
    big.daemon.pin(others);
    let logs = [small.daemon.log().open(), big.daemon.log().open()];
    let name = format!("GET with {} rules and {} slots", effort.rules, effort.slots);
    let mut subjects = [
        Subject::new("GET with ten rules and ten slots", small.get.exchange()),
        Subject::new(&name, big.get.exchange()).aim(1.1),
    ];
    in_turns(&mut subjects, effort, || logs.iter().for_each(|log| log.set_len(0).unwrap()));
    println!("\nsize, the client on processor {client}, all others on {others}");
    measure::print(&subjects);
}
