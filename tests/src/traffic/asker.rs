//! A client of the broker that asks all the time, and knows how long it waited.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fdbroker::{Connector, Slot};

use super::orders::{answer, next};
use crate::PATIENCE;

/// The time from an answer to the next request.
const BETWEEN: Duration = Duration::from_millis(1);

/// Asks for what is in a slot, until the test has gone. After each order it answers the longest time that a request
/// took since the one before, in microseconds.
pub fn run(socket: &Path, slot: Slot) {
    let (longest, answers) = (AtomicU64::new(0), AtomicU64::new(0));
    let connector = Connector::new().socket(socket).retry_for(PATIENCE);
    let mut broker = connector.connect().expect("the broker serves");
    let expected = broker.get(slot).expect("there is a deposit").payload;
    thread::scope(|scope| {
        let (longest, answers) = (&longest, &answers);
        scope.spawn(move || {
            loop {
                let began = Instant::now();
                let deposit = broker.get(slot).expect("the session connects again");
                assert_eq!(deposit.payload, expected);
                let took = u64::try_from(began.elapsed().as_micros()).expect("a short time");
                longest.fetch_max(took, Ordering::Relaxed);
                answers.fetch_add(1, Ordering::Relaxed);
                thread::sleep(BETWEEN);
            }
        });
        answer(&0);
        while next().is_some() {
            // What is under way counts too, and the first request after it.
            let until = answers.load(Ordering::Relaxed) + 2;
            while answers.load(Ordering::Relaxed) < until {
                thread::sleep(BETWEEN);
            }
            answer(&longest.swap(0, Ordering::Relaxed));
        }
        std::process::exit(0);
    });
}
