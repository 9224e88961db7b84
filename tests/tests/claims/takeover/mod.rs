//! Taking tags over: who may, in which order, and what becomes of it. Each holds of tags that are
//! serial and of tags that are not, unless it says so.

mod ends;
mod rights;
mod turns;

use std::time::Duration;

use fdbroker_tests::claims::{AGAIN, BOTH, LIVE, LONG, POLICY, QUIESCED, SERIAL, SETTLE, WEB};
use fdbroker_tests::{
    Answer, Daemon, HelperProcess, Ids, PATIENCE, Peer, fixtures, happens_within, needs_root,
    request, wait_for,
};
use fdbroker_wire::claim::{State, What};

/// Long enough to see that nothing comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(200);

#[test]
fn live_the_owner_serves_on_until_its_claimant_is_ready() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        old.add_descriptor((tag, 0), fixtures::file_saying("listener"), "").done();
        let mut new = daemon.greeted();
        let granted = new.claim_for(tag, LIVE, 60_000);
        assert_eq!(granted.state, State::Granted);
        let told = old.is_told(tag, What::ClaimedLive);
        assert_eq!(told.claim, granted.claim);
        assert_eq!((told.pid.cast_unsigned(), told.uid), (std::process::id(), Ids::own().uid));
        assert!(told.left <= Duration::from_secs(60) && told.left > Duration::from_secs(30));
        assert_eq!(fixtures::content(new.get((tag, 0)).descriptor()), "listener");
        old.get((tag, 0)).descriptor();

        new.ready(tag).done();
        assert_eq!(old.is_told(tag, What::Completed).claim, granted.claim);
        new.add((tag, 0), "the new one's").done();
        assert_eq!(old.add((tag, 0), "too late").errno(), libc::ESTALE);
        assert_eq!(old.del((tag, 0)).errno(), libc::ESTALE);
        assert_eq!(new.get((tag, 0)).payload(), b"the new one's");
    }
}

#[test]
fn quiesced_the_owner_stops_and_releases_first() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        let mut new = daemon.greeted();
        assert_eq!(new.claim(tag, QUIESCED), State::Waiting);
        old.is_told(tag, What::ClaimedQuiesced);
        assert_eq!(new.ready(tag).errno(), libc::EBUSY);
        new.is_told_nothing(MEANWHILE);
        // It brings its deposits up to date.
        old.add((tag, 0), "sequence 7").done();
        old.release(tag).done();
        new.is_told(tag, What::Granted);
        old.release(tag).done();
        assert_eq!(new.get((tag, 0)).payload(), b"sequence 7");
        new.ready(tag).done();
        old.is_told(tag, What::Completed);
        new.ready(tag).done();
        new.add((tag, 0), "sequence 8").done();
    }
}

#[test]
fn while_a_claim_is_granted_neither_side_changes_anything() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        old.add((tag, 0), "as it was").done();
        let mut new = daemon.greeted();
        assert_eq!(new.claim(tag, LIVE), State::Granted);
        for side in [&mut old, &mut new] {
            assert_eq!(side.add((tag, 0), "x").errno(), libc::EBUSY);
            assert_eq!(side.add((tag, 1), "x").errno(), libc::EBUSY);
            assert_eq!(side.del((tag, 0)).errno(), libc::EBUSY);
            assert_eq!(take(side, tag), libc::EBUSY);
            assert_eq!(side.get((tag, 0)).payload(), b"as it was");
            assert_eq!(get_many(side, tag, 0), 0);
            assert_eq!(side.tag(tag).errno(), 0);
        }
        new.withdraw(tag).done();
        old.is_told(tag, What::ClaimedLive);
        old.is_told(tag, What::Left);
        old.add((tag, 0), "goes on").done();
        assert_eq!(take(&mut old, tag), 0);
    }
}

/// GET_MANY of the first slot, with take; returns its error number.
fn take(peer: &mut Peer, tag: i16) -> i32 {
    get_many(peer, tag, 1)
}

fn get_many(peer: &mut Peer, tag: i16, take: i16) -> i32 {
    get_many_from(peer, tag, 0, take)
}

/// The same of any slot.
fn get_many_from(peer: &mut Peer, tag: i16, index: i32, take: i16) -> i32 {
    got(peer.ask(&get_many_request(tag, index, take), &[]))
}

fn get_many_request(tag: i16, index: i32, take: i16) -> Vec<u8> {
    let body = [&tag.to_ne_bytes()[..], &take.to_ne_bytes(), &index.to_ne_bytes()].concat();
    request::extended(74, &body)
}

/// The error number of the first outcome of GOT_MANY.
fn got(answer: Answer) -> i32 {
    match answer {
        Answer::Extended { op: 75, body } => -i32::from_ne_bytes(body[8..12].try_into().unwrap()),
        other => panic!("expected GOT_MANY, got {other:?}"),
    }
}

/// Stops the supervisor, and has as many changes lie unanswered there as may: whatever comes behind
/// them waits.
fn fill(daemon: &Daemon, filler: &mut Peer) {
    let mut other = daemon.connect();
    daemon.stop_supervisor();
    loop {
        filler.send_and_be_read(&request::add((WEB, 100), -1, b"x"));
        // A worker that answers others has looked at this one too.
        let answered = || {
            assert_eq!(other.get((WEB, 101)).errno(), libc::ENOENT);
            filler.is_answered(Duration::ZERO)
        };
        if !happens_within(MEANWHILE, answered) {
            return;
        }
        filler.answer().done();
    }
}

#[test]
fn a_change_that_was_decided_before_the_claim_was_granted_does_not_land_after_it() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        for change in [request::add((tag, 0), -1, b"too late"), request::del((tag, 0))] {
            let mut old = daemon.owner(tag);
            old.add((tag, 0), "as it was").done();
            let (mut new, mut filler) = (daemon.greeted(), daemon.connect());
            fill(&daemon, &mut filler);
            new.send_and_be_read(&request::claim(tag, LIVE, LONG));
            old.send_and_be_read(&change);
            assert!(!new.answers_within(MEANWHILE) && !old.answers_within(Duration::ZERO));
            daemon.go_on();
            assert_eq!(new.answer().claimed().state, State::Granted);
            assert_eq!(old.answer().errno(), libc::EBUSY);
            assert_eq!(new.get((tag, 0)).payload(), b"as it was");
        }
    }
}

#[test]
fn what_the_owner_was_taking_is_there_for_a_claimant_that_is_granted_before_it_was_deleted() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        old.add((tag, 0), "as it was").done();
        let (mut new, mut filler) = (daemon.greeted(), daemon.connect());
        fill(&daemon, &mut filler);
        new.send_and_be_read(&request::claim(tag, LIVE, LONG));
        // The supervisor has to know of it before it is answered.
        old.send_and_be_read(&get_many_request(tag, 0, 1));
        daemon.go_on();
        assert_eq!(new.answer().claimed().state, State::Granted);
        assert_eq!(got(old.answer()), 0);
        assert_eq!(new.get((tag, 0)).payload(), b"as it was");
        // The filler's turn comes behind the one that would have deleted it.
        assert!(filler.answers_within(PATIENCE));
        filler.answer().done();
        assert_eq!(old.tag(tag).errno(), 0);
        new.ready(tag).done();
        assert_eq!(new.get((tag, 0)).payload(), b"as it was");
    }
}

/// Has a session take something large so often, reading nothing, that the broker waits for it to
/// read. Then a slot is being taken whose answer cannot be sent. Returns which.
fn takes_and_does_not_read(taker: &mut Peer, other: &mut Peer, tag: i16) -> i32 {
    let large = vec![7; 32768];
    for index in 0..30 {
        other.add((tag, index), &large).done();
    }
    for index in 0i32..30 {
        let body = [&tag.to_ne_bytes()[..], &1i16.to_ne_bytes(), &index.to_ne_bytes()].concat();
        taker.send(&request::extended(74, &body), &[]);
    }
    let mut last = || (0..30).rfind(|index| other.get((tag, *index)).errno() == libc::ENOENT);
    wait_for("one is being taken whose answer has no room", || {
        let taken = last()?;
        (!happens_within(MEANWHILE, || last() != Some(taken))).then_some(taken)
    })
}

#[test]
fn what_is_put_where_something_is_being_taken_is_there_at_once() {
    let daemon = Daemon::of_claims();
    let (mut taker, mut other) = (daemon.greeted(), daemon.greeted());
    let index = takes_and_does_not_read(&mut taker, &mut other, WEB);
    other.add((WEB, index), "the next one").done();
    assert_eq!(other.get((WEB, index)).payload(), b"the next one");
    assert_eq!(get_many_from(&mut other, WEB, index, 1), 0, "it can be taken itself");
    assert_eq!(other.get((WEB, index)).errno(), libc::ENOENT);
}

#[test]
fn what_an_overtaken_owner_was_taking_is_there_for_the_new_one() {
    let daemon = Daemon::of_claims();
    let (mut old, mut other, mut new) = (daemon.owner(WEB), daemon.greeted(), daemon.greeted());
    let index = takes_and_does_not_read(&mut old, &mut other, WEB);
    assert_eq!(new.claim(WEB, LIVE), State::Granted);
    assert_eq!(new.get((WEB, index)).errno(), 0);
    new.ready(WEB).done();
    assert_eq!(new.get((WEB, index)).errno(), 0, "as it was before");
    assert_eq!(other.get((WEB, index)).errno(), 0, "it will not be deleted");
}

#[test]
fn nothing_changes_under_a_claimant_however_its_owner_writes() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        old.add((tag, 0), "0").done();
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| {
                (1..=2000)
                    .filter(|number| old.add((tag, 0), number.to_string()).errno() == 0)
                    .count()
            });
            let mut new = daemon.greeted();
            while !writes.is_finished() {
                assert_eq!(new.claim(tag, LIVE), State::Granted);
                let seen = new.get((tag, 0)).payload();
                (0..3).for_each(|_| assert_eq!(new.get((tag, 0)).payload(), seen));
                new.withdraw(tag).done();
            }
            assert!(writes.join().unwrap() > 0, "the owner never wrote");
        });
    }
}

#[test]
fn others_go_by_the_policy_alone_where_the_tag_is_not_serial() {
    let daemon = Daemon::of_claims();
    let (mut owner, mut claimant, mut third) =
        (daemon.owner(WEB), daemon.greeted(), daemon.connect());
    third.add((WEB, 3), "before").done();
    assert_eq!(claimant.claim(WEB, QUIESCED), State::Waiting);
    claimant.add((WEB, 4), "it only waits").done();
    third.add((WEB, 3), "meanwhile").done();
    owner.release(WEB).done();
    third.add((WEB, 3), "granted").done();
    claimant.ready(WEB).done();
    third.del((WEB, 3)).done();
}

#[test]
fn what_happens_to_a_claim_is_recorded() {
    let daemon = Daemon::of_claims();
    let (mut old, mut new) = (daemon.owner(WEB), daemon.greeted());
    new.claim(WEB, QUIESCED);
    old.release(WEB).done();
    new.ready(WEB).done();
    old.claim_for(WEB, LIVE, 50);
    old.is_told_at_last(WEB, What::Expired);
    old.claim(WEB, LIVE);
    old.withdraw(WEB).done();
    drop(new);
    let own = format!("pid {} uid {}", std::process::id(), Ids::own().uid);
    let expected = [
        (
            "granted",
            format!("claim 2: its turn has come, quiesced, for 3600000 ms; {own} is the owner"),
        ),
        ("granted", format!("claim 2: granted: what {own} left may be taken over")),
        ("granted", format!("claim 2: complete: taken over from {own}")),
        ("granted", format!("claim 3: its turn has come, live, for 50 ms; {own} is the owner")),
        ("granted", format!("claim 3: granted: what {own} left may be taken over")),
        ("failed", format!("claim 3: it was not ready in time; {own} stays the owner")),
        (
            "granted",
            format!("claim 4: its turn has come, live, for 3600000 ms; {own} is the owner"),
        ),
        ("granted", format!("claim 4: granted: what {own} left may be taken over")),
        ("failed", format!("claim 4: withdrawn; {own} stays the owner")),
    ];
    let records = daemon.log().audit().into_iter();
    let records: Vec<_> = records.filter(|record| record.kind == "take-over").collect();
    assert!(records.iter().all(|record| record.right == "claim" && record.slot == "10/*"));
    let told: Vec<_> = records.into_iter().map(|it| (it.verdict, it.reason)).collect();
    assert_eq!(told, expected.map(|(verdict, reason)| (verdict.to_owned(), reason)));
    let decided: Vec<_> = daemon.log().decisions().into_iter().map(|it| it.reason).collect();
    let expected = ["claimed", "claimed", "released", "ready", "claimed", "claimed", "withdrawn"];
    assert_eq!(decided, expected);
}
