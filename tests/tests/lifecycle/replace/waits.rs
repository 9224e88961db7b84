//! What clients see that wait for something while the broker is replaced: their connections end, the library asks again.

use std::time::Duration;

use fdbroker::{Broker, Mode, Slot, State, Tag, What};
use fdbroker_tests::claims::{LIVE, POLICY, SERIAL};
use fdbroker_tests::{HelperProcess, PATIENCE};

use super::Site;

/// How many wait.
const WAITING: usize = 4;

fn slot() -> Slot {
    Slot::new(SERIAL, 0).unwrap()
}

#[test]
fn all_who_wait_for_a_serial_tag_get_it_and_see_no_error() {
    let site = Site::with_policy(POLICY);
    let mut daemon = site.broker().start();
    let owner = HelperProcess::same();
    let mut peer = owner.connect(&daemon);
    peer.add((SERIAL, 0), b"kept").done();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let mut broker = Broker::connect_to(daemon.socket()).unwrap();
                // Its session ends with the thread: then it is another one's turn.
                scope.spawn(move || broker.get(slot()).map(|deposit| deposit.payload))
            })
            .collect();
        for _ in 0..3 {
            daemon = site.replace(daemon);
            let mut peer = owner.connect(&daemon);
            assert_eq!(peer.get((SERIAL, 0)).payload(), b"kept");
        }
        owner.kill();
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap().unwrap(), b"kept");
        }
    });
}

#[test]
fn a_claim_that_waits_is_lost_and_made_again_without_the_owners_losing_the_tag() {
    let site = Site::with_policy(POLICY);
    let daemon = site.broker().start();
    let owner = HelperProcess::same();
    let mut peer = owner.greeted(&daemon);
    peer.claim(SERIAL, LIVE);
    let (tag, time) = (Tag::new(SERIAL).unwrap(), Duration::from_secs(60));
    let mut broker = Broker::connect_to(daemon.socket()).unwrap();
    let claimed = broker.claim(tag, Mode::Quiesced, time).unwrap();
    assert_eq!(claimed.state, State::Waiting);
    let daemon = site.replace(daemon);
    let lost = broker.event(Some(PATIENCE)).unwrap_err();
    assert!(lost.is_lost(), "{lost}");
    let claimed = broker.claim(tag, Mode::Quiesced, time).unwrap();
    assert_eq!(claimed.state, State::Waiting, "the owner has lost the tag");
    drop(peer);
    owner.kill();
    let event = broker.event(Some(PATIENCE)).unwrap().expect("it is told");
    assert_eq!(event.what, What::Owned);
    drop(daemon);
}
