//! Ten thousand descriptors, each in a slot of its own: bare, in bulk, and one by one. In each
//! way all of them are in hand at the same time before all are closed.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use fdbroker::{Broker, Deposit, Index, ManyDeposits, NewDeposit, Slot, Tag};
use fdbroker_tests::{Daemon, HelperProcess, is_root, skip, sys};

use crate::bare::{self, Bare};
use crate::measure::{self, Subject};
use crate::{Effort, place, subjects};

/// Beside the deposits: what else each process has open.
const OTHERS: usize = 200;
/// Where the slots begin: behind the one that the policy itself fills.
const FIRST: i32 = 10;
/// Who deposits every other one, where one user's share of the table is too small for all.
const OTHER_USER: u32 = 64120;

/// The client on one processor, all others on another or the same.
pub fn measure(effort: &Effort, client: usize, others: usize) {
    let number = possible(effort.descriptors);
    let bare = Bare::start(bare::PONG_MANY);
    let daemon = Daemon::with_policy(&subjects::policy(10)).start();
    fill(&daemon, number);
    sys::pin(0, client).unwrap();
    sys::pin(bare.pid(), others).unwrap();
    daemon.pin(others);
    let log = daemon.log().open();
    let indices: Vec<Index> = indices(number).collect();
    let connect = || Broker::connect_to(daemon.socket()).unwrap();
    let (mut bulk, mut single) = (connect(), connect());
    let mut buffer = vec![0; 65536];
    let mut subjects = [
        Subject::new("bare: 253 in each message", || drop(bare_loop(&bare, number, &mut buffer))),
        Subject::new("GET_MANY", || drop(in_bulk(&mut bulk, &indices))).aim(1.5),
        Subject::new("GET, one by one", || drop(one_by_one(&mut single, &indices))).slower(30.0),
    ];
    let effort = Effort { exchanges: 1, ..*effort };
    // The audit trail must not fill the disk.
    measure::in_turns(&mut subjects, &effort, || log.set_len(0).unwrap());
    println!("\n{number} descriptors, {}", place(client, others));
    measure::print_each(&subjects, number);
}

/// How many of `wanted` the limits of this machine allow.
fn possible(wanted: usize) -> usize {
    let limit = usize::try_from(sys::raise_descriptors()).unwrap_or(usize::MAX);
    // What one user, and all together, may have at the worker: see docs/architecture.md.
    let room = if is_root() { limit / 8 * 5 } else { limit / 2 };
    let room = room.saturating_sub(OTHERS);
    if room < wanted {
        skip(&format!("{wanted} descriptors"), &format!("RLIMIT_NOFILE {limit} allows {room}"));
    }
    wanted.min(room)
}

fn tag() -> Tag {
    Tag::new(1).unwrap()
}

fn indices(number: usize) -> impl Iterator<Item = Index> {
    (FIRST..).take(number).map(|index| Index::new(index).unwrap())
}

/// Deposits open files, each of them one of its own. Where it can, half of them as another user.
fn fill(daemon: &Daemon, number: usize) {
    let theirs = if is_root() { number / 2 } else { 0 };
    let files: Vec<File> = (theirs..number).map(|_| File::open("/dev/null").unwrap()).collect();
    let new =
        |(index, file)| NewDeposit { index, descriptor: Some(File::as_fd(file)), payload: b"" };
    let deposits: Vec<_> = indices(number).skip(theirs).zip(&files).map(new).collect();
    let added = Broker::connect_to(daemon.socket()).unwrap().add_many(tag(), &deposits).unwrap();
    assert!(added.iter().all(Result::is_ok));
    let mut other = (theirs > 0).then(|| HelperProcess::user(OTHER_USER).connect(daemon));
    for index in indices(theirs) {
        let file = File::open("/dev/null").unwrap();
        let other = other.as_mut().expect("somebody deposits them");
        other.add_descriptor((1, index.get()), file, "").done();
    }
}

fn bare_loop(bare: &Bare, number: usize, buffer: &mut [u8]) -> Vec<OwnedFd> {
    let mut came = Vec::with_capacity(number);
    while came.len() < number {
        let next = (number - came.len()).min(bare::MANY);
        came.extend(bare.exchange_many(came.len() as u32, next as u32, buffer));
    }
    came
}

fn in_bulk(broker: &mut Broker, indices: &[Index]) -> ManyDeposits {
    let got = broker.get_many(tag(), indices).unwrap();
    assert!(got.iter().all(|(_, deposit)| deposit.is_ok()));
    got
}

fn one_by_one(broker: &mut Broker, indices: &[Index]) -> Vec<Deposit> {
    indices.iter().map(|index| broker.get(Slot { tag: tag(), index: *index }).unwrap()).collect()
}
