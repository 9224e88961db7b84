//! A process whose descriptor table is full; a file of its own, since the table is everybody's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use fdbroker::{Broker, Error};
use fdbroker_wire::add_head;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Fake, slot};

#[test]
fn a_descriptor_without_room_is_an_error_and_never_a_deposit_without_descriptor() {
    let (_reading, writing) = rustix::pipe::pipe().unwrap();
    let answer = add_head(slot("1/1"), 5, 0).to_vec();
    let fake = Fake::saying(answer, vec![writing]);
    let mut broker = Broker::connect_to(fake.path()).unwrap();
    drop(broker.get(slot("1/1")).unwrap());

    let limits = getrlimit(Resource::Nofile);
    let full = u64::try_from(lowest_free()).unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(full), ..limits }).unwrap();
    let outcome = broker.get(slot("1/1"));
    setrlimit(Resource::Nofile, limits).unwrap();
    assert!(matches!(outcome, Err(Error::NoRoom { .. })), "{outcome:?}");

    // The session is still in step.
    assert!(broker.get(slot("1/1")).unwrap().descriptor.is_some());
}

fn lowest_free() -> i32 {
    let probe: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    probe.as_raw_fd()
}
