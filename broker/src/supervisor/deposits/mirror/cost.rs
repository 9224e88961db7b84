//! What changes of the mirror cost the event loop, however much is kept.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fdbroker_wire::Slot;
use rustix::time::{ClockId, clock_gettime};

use super::object_number::ObjectNumber;
use super::objects::Objects;
use super::state::State;
use super::store::Room;
use crate::fd::{CloseQueue, Depositor, table};
use crate::payer::Payer;
use crate::supervisor::deposits::kept::Kept;

const PAYLOAD: usize = 4096;
/// What else the test has open.
const SPARE: u64 = 200;

/// One test after the other has the table.
static TABLE: Mutex<()> = Mutex::new(());

/// The longest of some changes.
#[derive(Default)]
struct Longest(Duration);

impl Longest {
    fn time<T>(&mut self, change: impl FnOnce() -> T) -> T {
        let began = used();
        let result = change();
        self.0 = self.0.max(used().saturating_sub(began));
        result
    }
}

/// The processor's time that this thread has used: other programs run beside it.
fn used() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.try_into().unwrap())
}

fn kept(index: i32, queue: &CloseQueue) -> Rc<Kept> {
    let end = OwnedFd::from(UnixDatagram::unbound().unwrap());
    Rc::new(Kept {
        slot: Slot::new(1, index).unwrap(),
        payer: Payer::named(1 + index.unsigned_abs() % 50),
        ufd: 3,
        payload: vec![1; PAYLOAD].into(),
        descriptor: Some(queue.hold(Depositor::Nobody, end)),
        leaving: None,
    })
}

/// Sends everything.
fn send(state: &mut State, longest: &mut Longest) {
    while longest.time(|| state.orders.next().map(|_| state.sent())).is_some() {}
    state.read();
}

/// Deposits so many, deletes nearly all of them, and deposits one again and again.
fn longest_change(deposits: i32) -> Duration {
    let (queue, mut longest) = (CloseQueue::new(), Longest::default());
    let mut state = State::begin(1, Room::told()).unwrap();
    let all: Vec<_> = (0..deposits).map(|index| kept(index, &queue)).collect();
    for kept in &all {
        longest.time(|| state.change(|state| state.keep(kept, false))).unwrap();
    }
    send(&mut state, &mut longest);
    longest.time(|| state.count());
    for kept in all.iter().skip(1).step_by(2) {
        longest.time(|| state.change(|state| state.leave(kept))).unwrap();
    }
    send(&mut state, &mut longest);
    for _ in 0..deposits {
        longest.time(|| state.change(|state| state.leave(&all[0]))).unwrap();
        longest.time(|| state.change(|state| state.keep(&all[0], false))).unwrap();
    }
    send(&mut state, &mut longest);
    longest.0
}

#[test]
fn no_change_takes_long_however_much_is_kept() {
    let _table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    table::enlarge().unwrap();
    for deposits in [1_000_i32, 16_000] {
        if table::size() < u64::from(deposits.unsigned_abs()) + SPARE {
            eprintln!("skipped: the limit of open descriptors is below {deposits}");
            continue;
        }
        let took = longest_change(deposits);
        eprintln!("the longest change with {deposits} deposits: {} µs", took.as_micros());
        // Far more than it takes, also without optimization.
        assert!(took < Duration::from_millis(100), "{} µs", took.as_micros());
    }
}

/// Enters so many at a start; returns how long that takes.
fn entering(deposits: i32) -> Duration {
    let (queue, mut objects) = (CloseQueue::new(), Objects::new(16_000));
    let all: Vec<_> = (0..deposits).map(|index| kept(index, &queue)).collect();
    let began = used();
    for (kept, number) in all.iter().zip(1..) {
        objects.add(kept, Some(ObjectNumber(number))).unwrap();
    }
    used().saturating_sub(began)
}

#[test]
fn a_start_with_many_deposits_compares_few_descriptors() {
    let _table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    table::enlarge().unwrap();
    let deposits = 8_000_i32;
    if table::size() < u64::from(deposits.unsigned_abs()) + SPARE {
        eprintln!("skipped: the limit of open descriptors is below {deposits}");
        return;
    }
    let took = entering(deposits);
    eprintln!("to enter {deposits} deposits: {} µs", took.as_micros());
    assert!(took < Duration::from_secs(1), "{} µs", took.as_micros());
}
