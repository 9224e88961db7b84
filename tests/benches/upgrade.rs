//! The pause that clients see while a server is upgraded: the HTTP example under constant load,
//! with upgrades one after the other and without any, in turns in one run.
//!
//! `cargo bench -p fdbroker-tests --bench upgrade`. `--quick`, and `cargo test`, only make sure
//! that it runs.

use std::thread;
use std::time::{Duration, Instant};

use fdbroker_tests::load::{Clients, Load, percentile};
use fdbroker_tests::{Daemon, Example, fixtures};

/// The tag of the example.
const TAG: i16 = 2;

/// How much is measured.
struct Effort {
    /// How often both have their turn.
    rounds: usize,
    /// Upgrades in one turn.
    upgrades: usize,
    clients: Clients,
}

const FULL: Effort = Effort {
    rounds: 8,
    upgrades: 50,
    clients: Clients { staying: 8, coming: 8, every: Duration::from_millis(10) },
};
const QUICK: Effort = Effort { rounds: 1, upgrades: 3, ..FULL };

/// What it is to cost at most, at the 99.9th percentile.
const AIM: Duration = Duration::from_millis(10);

fn main() {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let effort = if has("--quick") || !has("--bench") { QUICK } else { FULL };
    let daemon = Daemon::with_policy(&fixtures::open_at(TAG)).start();
    let mut server = Example::start(&daemon, "http");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    for _ in 0..effort.rounds {
        let load = Load::start(server.address(), effort.clients);
        let began = Instant::now();
        for _ in 0..effort.upgrades {
            server = upgraded(&daemon, server, &load);
        }
        let took = began.elapsed();
        with.extend(load.end().took);
        let load = Load::start(server.address(), effort.clients);
        thread::sleep(took);
        without.extend(load.end().took);
    }
    let upgrades = effort.rounds * effort.upgrades;
    println!("\n{upgrades} upgrades in {:.1} s of load", begin.elapsed().as_secs_f64() / 2.0);
    print(&mut with, &mut without, effort.rounds > 1);
}

fn upgraded(daemon: &Daemon, mut old: Example, load: &Load) -> Example {
    let new = Example::start(daemon, "http");
    load.is_served_by(new.pid());
    assert!(old.ends().success(), "the old process fails");
    new
}

fn print(with: &mut [Duration], without: &mut [Duration], says_whether: bool) {
    println!("  {:<22} {:>8} {:>8} {:>8} {:>8}", "ms", "p50", "p99", "p99.9", "max");
    let parts = [0.5, 0.99, 0.999, 1.0];
    let with_upgrades = parts.map(|part| milliseconds(percentile(with, part)));
    let without_any = parts.map(|part| milliseconds(percentile(without, part)));
    let difference: Vec<f64> =
        std::iter::zip(with_upgrades, without_any).map(|(a, b)| a - b).collect();
    line("without an upgrade", without.len(), &without_any);
    line("with upgrades", with.len(), &with_upgrades);
    line("difference", 0, &difference);
    if says_whether {
        let aim = milliseconds(AIM);
        let reached = if difference[2] <= aim { "reached" } else { "missed" };
        println!("  aim at p99.9: {aim} ms more at most: {reached}");
    }
}

fn line(name: &str, requests: usize, values: &[f64]) {
    print!("  {name:<22}");
    values.iter().for_each(|value| print!(" {value:>8.2}"));
    match requests {
        0 => println!(),
        _ => println!("   {requests} requests"),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
