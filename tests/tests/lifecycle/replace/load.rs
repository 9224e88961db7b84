//! Under load, again and again: what was acknowledged is there, and clients of the library notice a delay.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fdbroker::{Broker, Slot};
use fdbroker_tests::{fixtures, wait_until};
use rustix::process::Signal;

use super::super::restart::{Client, everything_is_there};
use super::Site;

const CLIENTS: i32 = 4;
const REPLACES: usize = 100;
/// How many requests are answered between two of them.
const BETWEEN: u64 = 40;
/// How many new brokers are killed.
const KILLS: u64 = 30;

fn site() -> Site {
    Site::with_policy(&fixtures::accepting(r#"["file", "none"]"#))
}

/// Has clients ask without a pause until `change` has ended, and looks that everything is there.
fn under_load(site: &Site, change: impl FnOnce(&dyn Fn())) {
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let held: Vec<HashMap<i32, u64>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = Client::new(&site.socket(), number);
                let (answered, stop) = (&answered, &stop);
                scope.spawn(move || client.run(answered, stop))
            })
            .collect();
        change(&|| {
            let goal = answered.load(Ordering::Relaxed) + BETWEEN;
            wait_until("the clients are served", || {
                answered.load(Ordering::Relaxed) >= goal
                    || clients.iter().any(std::thread::ScopedJoinHandle::is_finished)
            });
        });
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client failed")).collect()
    });
    let mut peer = fdbroker_tests::Peer::connect(&site.socket()).unwrap();
    for (number, held) in (0..).zip(&held) {
        everything_is_there(&mut peer, number, held);
    }
}

#[test]
fn a_hundred_replaces_lose_no_deposit_and_show_no_client_an_error() {
    let site = site();
    let mut daemon = Some(site.broker().start());
    let mut pauses = Vec::new();
    under_load(&site, |served| {
        for _ in 0..REPLACES {
            served();
            let watch = Watch::of(&site);
            daemon = daemon.take().map(|former| site.replace(former));
            pauses.push(watch.longest());
        }
    });
    pauses.sort();
    let at = |part: usize| pauses[(pauses.len() - 1) * part / 100];
    eprintln!(
        "the longest pause of a client: p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );
    assert!(at(100) < Duration::from_secs(5), "{pauses:?}");
}

/// A client that asks all the time, and knows how long its slowest answer took.
struct Watch {
    stop: std::sync::Arc<AtomicBool>,
    asks: std::thread::JoinHandle<Duration>,
}

impl Watch {
    fn of(site: &Site) -> Self {
        let mut broker = Broker::connect_to(site.socket()).unwrap();
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let told = std::sync::Arc::clone(&stop);
        let slot = Slot::new(1, 1_000_000).unwrap();
        let asks = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !told.load(Ordering::Relaxed) {
                let began = Instant::now();
                let outcome = broker.get(slot);
                assert!(matches!(outcome, Err(fdbroker::Error::Absent { .. })), "{outcome:?}");
                longest = longest.max(began.elapsed());
            }
            longest
        });
        Self { stop, asks }
    }

    fn longest(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.asks.join().expect("it was refused")
    }
}

#[test]
fn a_new_broker_that_is_killed_at_any_moment_changes_nothing() {
    let site = site();
    let mut daemon = Some(site.broker().start());
    let mut replaced = 0;
    under_load(&site, |served| {
        for kill in 0..KILLS {
            served();
            let Some(mut former) = daemon.take() else { return };
            let newer = site.newer().begin();
            // It stands still wherever it is then.
            std::thread::sleep(Duration::from_millis(kill * 5 / 2));
            match newer.killed_unless_it_took_over(former.supervisor_pid()) {
                Some(newer) => {
                    replaced += 1;
                    former.is_replaced();
                    daemon = Some(newer);
                }
                None => daemon = Some(former),
            }
        }
    });
    eprintln!("new brokers: {KILLS}; that took over before they were killed: {replaced}");
    let mut daemon = daemon.unwrap();
    assert!(daemon.end(Signal::TERM).success());
}
