//! Events on a connection: between answers, never within one, and never so many that they harm.

use std::time::Duration;

use fdbroker_tests::claims::{BOTH, LIVE, LONG, POLICY, QUIESCED, SERIAL, WEB};
use fdbroker_tests::{Daemon, fixtures, request};
use fdbroker_wire::claim::{State, What};
use rustix::io::ioctl_fionread;

const MEANWHILE: Duration = Duration::from_millis(200);
/// More than the kernel's room for one connection, at 28 bytes an event.
const FLOOD: i32 = 3000;

#[test]
fn a_flood_of_claims_neither_cuts_off_an_owner_that_does_not_read_nor_fills_its_connection() {
    let daemon = Daemon::with_policy(POLICY).setting("frame_timeout = \"1s\"").start();
    for tag in BOTH {
        let mut owner = daemon.owner(tag);
        let mut flooder = daemon.greeted();
        let mut last = 0;
        for _ in 0..FLOOD {
            last = flooder.claim_for(tag, LIVE, LONG).claim;
            flooder.withdraw(tag).done();
        }
        let unread = ioctl_fionread(owner.socket()).unwrap();
        assert!((28..4096).contains(&unread), "{unread} bytes lie unread");
        // What is kept back comes when it reads: how it ended.
        while owner.is_told_at_last(tag, What::Left).claim != last {}
        owner.is_told_nothing(MEANWHILE);
        owner.is_served((tag, 0));
    }
}

#[test]
fn events_come_between_answers_whatever_is_pipelined() {
    let daemon = Daemon::of_claims();
    let mut owner = daemon.owner(WEB);
    let large = vec![7; 32768];
    owner.add((WEB, 0), &large).done();
    owner.add_descriptor((WEB, 1), fixtures::file_saying("x"), "small").done();
    let mut claimant = daemon.greeted();
    let mut events = 0;
    for round in 0..20 {
        // More than the kernel takes at once: the broker is in the middle of an answer.
        for _ in 0..10 {
            owner.send(&request::get((WEB, 0)), &[]);
            owner.send(&request::get((WEB, 1)), &[]);
        }
        claimant.claim(WEB, if round % 2 == 0 { LIVE } else { QUIESCED });
        claimant.withdraw(WEB).done();
        for _ in 0..10 {
            assert_eq!(owner.answer().payload(), large);
            assert_eq!(owner.answer().payload(), b"small");
        }
        owner.is_told_at_last(WEB, What::Left);
        events += 1;
    }
    assert_eq!(events, 20);
}

#[test]
fn a_session_that_waits_for_its_turn_is_told_meanwhile() {
    let daemon = Daemon::of_claims();
    let mut blocker = daemon.connect();
    blocker.add((SERIAL, 0), "x").done();
    let mut owner = daemon.owner(WEB);
    owner.send(&request::get((SERIAL, 0)), &[]);
    let mut claimant = daemon.greeted();
    assert_eq!(claimant.claim(WEB, LIVE), State::Granted);
    owner.is_told(WEB, What::ClaimedLive);
    claimant.withdraw(WEB).done();
    owner.is_told(WEB, What::Left);
    assert!(!owner.answers_within(MEANWHILE));
    drop(blocker);
    assert_eq!(owner.answer().payload(), b"x");
}

#[test]
fn a_session_in_the_middle_of_a_message_is_told_and_gets_no_more_time_by_that() {
    let daemon = Daemon::with_policy(POLICY).setting("frame_timeout = \"1s\"").start();
    let mut owner = daemon.owner(WEB);
    let mut claimant = daemon.greeted();
    let whole = request::get((WEB, 0));
    owner.send(&whole[..3], &[]);
    claimant.claim(WEB, LIVE);
    owner.is_told(WEB, What::ClaimedLive);
    owner.send(&whole[3..], &[]);
    assert_eq!(owner.answer().errno(), libc::ENOENT);
    claimant.withdraw(WEB).done();
    owner.is_told(WEB, What::Left);

    owner.send(&whole[..3], &[]);
    let begun = std::time::Instant::now();
    while !owner.answers_within(Duration::ZERO) {
        claimant.claim(WEB, LIVE);
        // It owns the tag itself when the owner has been cut off.
        claimant.withdraw(WEB).done();
        assert!(begun.elapsed() < fdbroker_tests::PATIENCE, "events give it time without end");
    }
    assert!(owner.answer().is_closed());
}

#[test]
fn who_never_claimed_is_told_nothing() {
    let daemon = Daemon::of_claims();
    let (mut bystander, mut touched) = (daemon.greeted(), daemon.greeted());
    bystander.is_served((WEB, 5));
    touched.is_served((SERIAL, 5));
    for tag in BOTH {
        let mut claimant = daemon.greeted();
        claimant.claim(tag, LIVE);
        claimant.withdraw(tag).done();
    }
    bystander.is_told_nothing(MEANWHILE);
    touched.is_told_nothing(MEANWHILE);
    assert!(!bystander.is_answered(Duration::ZERO) && !touched.is_answered(Duration::ZERO));
}

#[test]
fn events_of_several_tags_do_not_displace_each_other() {
    let daemon = Daemon::of_claims();
    let mut owner = daemon.owner(WEB);
    assert_eq!(owner.claim(SERIAL, LIVE), State::Owned);
    let (mut one, mut other) = (daemon.greeted(), daemon.greeted());
    one.claim(WEB, LIVE);
    other.claim(SERIAL, QUIESCED);
    let mut told = [owner.event(), owner.event()].map(|event| (event.tag.get(), event.what));
    told.sort_unstable_by_key(|(tag, _)| *tag);
    assert_eq!(told, [(WEB, What::ClaimedLive), (SERIAL, What::ClaimedQuiesced)]);
}
