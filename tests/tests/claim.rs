//! Taking tags over: CLAIM, RELEASE, READY, WITHDRAW, and the events that go with them.

use std::time::Duration;

use fdbroker_tests::{Answer, Daemon, Peer, Person, request};
use fdbroker_wire::claim::{Claimed, Event, State, What};
use fdbroker_wire::{Extended, Tag};

const POLICY: &str = r#"
[tags.web]
id = 10

[tags.serial]
id = 11
serial = true

[[rules]]
id = "everyone"
allow = ["*"]
slots = ["*"]
anyone = true
"#;

const WEB: i16 = 10;
const SERIAL: i16 = 11;
const BOTH: [i16; 2] = [WEB, SERIAL];

const LIVE: i16 = 0;
const QUIESCED: i16 = 1;
const AGAIN: i16 = 2;
/// Beside one of these.
const SETTLE: i16 = 0x100;

/// For claims whose time is never up in a test, in milliseconds.
const LONG: i32 = 3_600_000;
/// Long enough to see that nothing comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(200);

fn daemon() -> Daemon {
    Daemon::with_policy(POLICY).start()
}

/// A connection that has said HEL.
fn greeted(daemon: &Daemon) -> Peer {
    hello(daemon.connect())
}

fn hello(mut peer: Peer) -> Peer {
    assert!(matches!(peer.ask(&request::hello(), &[]), Answer::Hello(_)));
    peer
}

/// A connection that owns a tag by claim.
fn owner(daemon: &Daemon, tag: i16) -> Peer {
    let mut owner = greeted(daemon);
    assert_eq!(claim(&mut owner, tag, LIVE), State::Owned);
    owner
}

#[track_caller]
fn claim(peer: &mut Peer, tag: i16, mode: i16) -> State {
    claimed(peer.ask(&request::claim(tag, mode, LONG), &[])).state
}

#[track_caller]
fn claimed(answer: Answer) -> Claimed {
    match answer {
        Answer::Extended { op, body } => {
            let message: Extended<()> = Extended { op, flags: 0, body, descriptors: Vec::new() };
            Claimed::from_extended(message).unwrap()
        }
        other => panic!("expected CLAIMED, got {other:?}"),
    }
}

fn release(peer: &mut Peer, tag: i16) -> Answer {
    peer.ask(&request::release(tag), &[])
}

fn ready(peer: &mut Peer, tag: i16) -> Answer {
    peer.ask(&request::ready(tag), &[])
}

fn withdraw(peer: &mut Peer, tag: i16) -> Answer {
    peer.ask(&request::withdraw(tag), &[])
}

#[track_caller]
fn is_told(peer: &mut Peer, tag: i16, what: What) -> Event {
    let event = peer.event();
    assert_eq!((event.tag, event.what), (Tag::new(tag).unwrap(), what));
    event
}

#[test]
fn live_the_owner_serves_on_until_its_claimant_is_ready() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = owner(&daemon, tag);
        old.add((tag, 0), "listener").done();
        let mut new = greeted(&daemon);
        let granted = claimed(new.ask(&request::claim(tag, LIVE, 60_000), &[]));
        assert_eq!(granted.state, State::Granted);
        let told = is_told(&mut old, tag, What::ClaimedLive);
        assert_eq!(told.claim, granted.claim);
        assert_eq!(
            (told.pid as u32, told.uid),
            (std::process::id(), fdbroker_tests::Ids::own().uid)
        );
        assert!(told.left <= Duration::from_secs(60) && told.left > Duration::from_secs(30));
        assert_eq!(new.get((tag, 0)).payload(), b"listener");
        assert_eq!(old.get((tag, 0)).payload(), b"listener");

        ready(&mut new, tag).done();
        assert_eq!(is_told(&mut old, tag, What::Completed).claim, granted.claim);
        new.add((tag, 0), "the new one's").done();
        assert_eq!(old.add((tag, 0), "too late").errno(), libc::ESTALE);
        assert_eq!(old.del((tag, 0)).errno(), libc::ESTALE);
        assert_eq!(new.get((tag, 0)).payload(), b"the new one's");
    }
}

#[test]
fn quiesced_the_owner_stops_and_releases_first() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = owner(&daemon, tag);
        let mut new = greeted(&daemon);
        assert_eq!(claim(&mut new, tag, QUIESCED), State::Waiting);
        is_told(&mut old, tag, What::ClaimedQuiesced);
        assert_eq!(ready(&mut new, tag).errno(), libc::EBUSY);
        // It brings its deposits up to date.
        old.add((tag, 0), "sequence 7").done();
        release(&mut old, tag).done();
        is_told(&mut new, tag, What::Granted);
        release(&mut old, tag).done();
        assert_eq!(new.get((tag, 0)).payload(), b"sequence 7");
        ready(&mut new, tag).done();
        is_told(&mut old, tag, What::Completed);
        ready(&mut new, tag).done();
        new.add((tag, 0), "sequence 8").done();
    }
}

#[test]
fn while_a_claim_is_granted_neither_side_changes_anything() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = owner(&daemon, tag);
        old.add((tag, 0), "as it was").done();
        let mut new = greeted(&daemon);
        assert_eq!(claim(&mut new, tag, LIVE), State::Granted);
        for side in [&mut old, &mut new] {
            assert_eq!(side.add((tag, 0), "x").errno(), libc::EBUSY);
            assert_eq!(side.del((tag, 0)).errno(), libc::EBUSY);
            assert_eq!(side.get((tag, 0)).payload(), b"as it was");
        }
        withdraw(&mut new, tag).done();
        is_told(&mut old, tag, What::ClaimedLive);
        is_told(&mut old, tag, What::Left);
        old.add((tag, 0), "goes on").done();
    }
}

#[test]
fn a_claimant_that_dies_changes_nothing_and_its_owner_is_told() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = owner(&daemon, tag);
        let person = Person::same();
        let mut new = hello(person.connect(&daemon));
        assert_eq!(claim(&mut new, tag, LIVE), State::Granted);
        assert_eq!(is_told(&mut old, tag, What::ClaimedLive).pid as u32, person.pid());
        person.kill();
        is_told(&mut old, tag, What::Left);
        old.add((tag, 0), "still mine").done();
    }
}

#[test]
fn an_owner_that_dies_leaves_the_tag_to_its_claimant_at_once() {
    let daemon = daemon();
    for tag in BOTH {
        for mode in [LIVE, QUIESCED] {
            let person = Person::same();
            let mut old = hello(person.connect(&daemon));
            assert_eq!(claim(&mut old, tag, LIVE), State::Owned);
            let mut new = greeted(&daemon);
            claim(&mut new, tag, mode);
            person.kill();
            let event = match new.event() {
                Event { what: What::Granted, .. } => new.event(),
                event => event,
            };
            assert_eq!((event.what, event.pid as u32), (What::Owned, person.pid()));
            new.add((tag, 0), "mine").done();
            drop(old);
        }
    }
}

#[test]
fn a_claimant_that_is_not_ready_in_time_claims_no_more() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = owner(&daemon, tag);
        let mut new = greeted(&daemon);
        let granted = claimed(new.ask(&request::claim(tag, LIVE, 100), &[]));
        assert_eq!(granted.state, State::Granted);
        assert_eq!(is_told(&mut new, tag, What::Expired).claim, granted.claim);
        is_told(&mut old, tag, What::ClaimedLive);
        is_told(&mut old, tag, What::TimedOut);
        assert_eq!(ready(&mut new, tag).errno(), libc::EINVAL);
        old.add((tag, 0), "still mine").done();
    }
}

#[test]
fn three_at_once_have_their_turns_one_after_the_other() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = owner(&daemon, tag);
        let mut claimants: Vec<Peer> = (0..3).map(|_| greeted(&daemon)).collect();
        let states = claimants.iter_mut().map(|peer| claim(peer, tag, LIVE)).collect::<Vec<_>>();
        assert_eq!(states, [State::Granted, State::Waiting, State::Waiting]);
        is_told(&mut old, tag, What::ClaimedLive);
        assert!(old.event_within(MEANWHILE).is_none());
        let mut first = claimants.remove(0);
        ready(&mut first, tag).done();
        is_told(&mut old, tag, What::Completed);
        is_told(&mut first, tag, What::ClaimedLive);
        is_told(&mut claimants[0], tag, What::Granted);
        withdraw(&mut claimants[0], tag).done();
        // That the one before has left is old news by then.
        is_told(&mut first, tag, What::ClaimedLive);
        is_told(&mut claimants[1], tag, What::Granted);
        ready(&mut claimants[1], tag).done();
        is_told(&mut first, tag, What::Completed);
    }
}

#[test]
fn while_an_owner_settles_nobody_takes_over_from_it() {
    let daemon = daemon();
    for tag in BOTH {
        let mut old = greeted(&daemon);
        assert_eq!(claim(&mut old, tag, LIVE | SETTLE), State::Owned);
        let mut new = greeted(&daemon);
        let brief = claimed(new.ask(&request::claim(tag, LIVE | SETTLE, 1), &[]));
        assert_eq!(brief.state, State::Waiting);
        let mut third = greeted(&daemon);
        assert_eq!(claim(&mut third, tag, LIVE), State::Waiting);
        // The clock of the claim does not run either.
        assert!(old.event_within(MEANWHILE).is_none());
        assert!(new.event_within(Duration::ZERO).is_none());
        old.add((tag, 0), "all in its place").done();
        withdraw(&mut new, tag).done();
        assert_eq!(claim(&mut new, tag, LIVE | SETTLE), State::Waiting);
        ready(&mut old, tag).done();
        is_told(&mut old, tag, What::ClaimedLive);
        is_told(&mut third, tag, What::Granted);
        withdraw(&mut third, tag).done();
        is_told(&mut new, tag, What::Granted);
        ready(&mut new, tag).done();

        // Taken over, it settles as well.
        assert_eq!(claim(&mut third, tag, LIVE), State::Waiting);
        new.add((tag, 0), "the next one's").done();
        assert!(third.event_within(MEANWHILE).is_none());
        ready(&mut new, tag).done();
        is_told(&mut third, tag, What::Granted);
        assert_eq!(third.get((tag, 0)).payload(), b"the next one's");
    }
}

#[test]
fn after_the_broker_has_crashed_the_owner_claims_again_and_a_stranger_cannot() {
    let daemon = daemon();
    for tag in BOTH {
        let person = Person::same();
        let mut old = hello(person.connect(&daemon));
        assert_eq!(claim(&mut old, tag, LIVE), State::Owned);
        daemon.kill_worker();
        assert!(old.answer().is_closed());
        let mut stranger = greeted(&daemon);
        let again = request::claim(tag, AGAIN, LONG);
        assert_eq!(stranger.ask(&again, &[]).errno(), libc::ESTALE);
        assert_eq!(claim(&mut stranger, tag, LIVE), State::Waiting);
        let mut old = hello(person.connect(&daemon));
        assert_eq!(claim(&mut old, tag, AGAIN), State::Owned);
        is_told(&mut old, tag, What::ClaimedLive);
        is_told(&mut stranger, tag, What::Granted);
    }
}
