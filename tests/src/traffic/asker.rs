//! A client of the broker that asks all the time, and knows how long it waited.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fdbroker::{Broker, Connector, Slot};

use super::orders::{answer, next};
use crate::{PATIENCE, wait_until};

/// The time from an answer to the next request.
const BETWEEN: Duration = Duration::from_millis(1);

/// Asks for what is in a slot, until the test has gone. After each order it answers the longest time that a request
/// took since the one before, in microseconds.
pub fn run(socket: &Path, slot: Slot) {
    let asker = Asker::start(socket, slot);
    answer(&0);
    while next().is_some() {
        answer(&asker.longest().as_micros());
    }
}

/// One that asks on a thread, until it is dropped.
#[derive(Debug)]
pub struct Asker {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// In microseconds.
    longest: AtomicU64,
    answers: AtomicU64,
    stops: AtomicBool,
}

impl Asker {
    /// Begins to ask for what is in a slot, which has a deposit.
    ///
    /// # Panics
    /// When that cannot be got.
    #[must_use]
    pub fn start(socket: &Path, slot: Slot) -> Self {
        let connector = Connector::new().socket(socket).retry_for(PATIENCE);
        let mut broker = connector.connect().expect("the broker serves");
        let expected = broker.get(slot).expect("there is a deposit").payload;
        let seen = Arc::<Seen>::default();
        let thread = thread::spawn({
            let seen = Arc::clone(&seen);
            move || ask(&mut broker, slot, &expected, &seen)
        });
        Self { seen, thread: Some(thread) }
    }

    /// The longest time that a request took since this was asked last. What is under way counts too, and the first
    /// request after it.
    #[track_caller]
    pub fn longest(&self) -> Duration {
        let Seen { longest, answers, .. } = &*self.seen;
        let until = answers.load(Ordering::Relaxed) + 2;
        wait_until("it is answered", || answers.load(Ordering::Relaxed) >= until);
        Duration::from_micros(longest.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.seen.stops.store(true, Ordering::Relaxed);
        // One that has failed has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn ask(broker: &mut Broker, slot: Slot, expected: &[u8], seen: &Seen) {
    while !seen.stops.load(Ordering::Relaxed) {
        let began = Instant::now();
        let deposit = broker.get(slot).expect("the session connects again");
        assert_eq!(deposit.payload, expected);
        let took = u64::try_from(began.elapsed().as_micros()).expect("a short time");
        seen.longest.fetch_max(took, Ordering::Relaxed);
        seen.answers.fetch_add(1, Ordering::Relaxed);
        thread::sleep(BETWEEN);
    }
}
