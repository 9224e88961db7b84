//! Taking tags over: who may, in which order, and what becomes of it. Each holds of tags that are
//! serial and of tags that are not, unless it says so.

use std::time::Duration;

use fdbroker_tests::claims::{AGAIN, BOTH, LIVE, LONG, POLICY, QUIESCED, SERIAL, SETTLE, WEB};
use fdbroker_tests::{
    Answer, Daemon, Ids, PATIENCE, Peer, Person, needs_root, request, sample, wait_until,
};
use fdbroker_wire::claim::{State, What};

/// Long enough to see that nothing comes; whatever comes later makes the test fail as well.
const MEANWHILE: Duration = Duration::from_millis(200);

#[test]
fn live_the_owner_serves_on_until_its_claimant_is_ready() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        old.add_descriptor((tag, 0), sample::file_saying("listener"), "").done();
        let mut new = daemon.greeted();
        let granted = new.claim_for(tag, LIVE, 60_000);
        assert_eq!(granted.state, State::Granted);
        let told = old.is_told(tag, What::ClaimedLive);
        assert_eq!(told.claim, granted.claim);
        assert_eq!((told.pid.cast_unsigned(), told.uid), (std::process::id(), Ids::own().uid));
        assert!(told.left <= Duration::from_secs(60) && told.left > Duration::from_secs(30));
        assert_eq!(sample::content(new.get((tag, 0)).descriptor()), "listener");
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

/// GET_MANY of the first slot, with take; gives its error number.
fn take(peer: &mut Peer, tag: i16) -> i32 {
    get_many(peer, tag, 1)
}

fn get_many(peer: &mut Peer, tag: i16, take: i16) -> i32 {
    get_many_from(peer, tag, 0, take)
}

/// The same of any slot.
fn get_many_from(peer: &mut Peer, tag: i16, index: i32, take: i16) -> i32 {
    let body = [&tag.to_ne_bytes()[..], &take.to_ne_bytes(), &index.to_ne_bytes()].concat();
    got(peer.ask(&request::extended(74, &body), &[]))
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
    daemon.stop_supervisor();
    loop {
        filler.send_and_be_read(&request::add((WEB, 100), -1, b"x"));
        if !filler.is_answered(MEANWHILE) {
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
        assert_eq!(take(&mut old, tag), 0);
        daemon.go_on();
        assert_eq!(new.answer().claimed().state, State::Granted);
        assert_eq!(new.get((tag, 0)).payload(), b"as it was");
        // The filler's turn comes behind the one that would have deleted it.
        assert!(filler.answers_within(PATIENCE));
        filler.answer().done();
        assert_eq!(old.tag(tag).errno(), 0);
        new.ready(tag).done();
        assert_eq!(new.get((tag, 0)).payload(), b"as it was");
    }
}

/// Has a session take something large so often, reading nothing, that the broker waits for it to read: then
/// a slot is being taken whose answer cannot be sent. Gives which.
fn takes_and_does_not_read(taker: &mut Peer, other: &mut Peer, tag: i16) -> i32 {
    let large = vec![7; 32768];
    for index in 0..30 {
        other.add((tag, index), &large).done();
    }
    for index in 0i32..30 {
        let body = [&tag.to_ne_bytes()[..], &1i16.to_ne_bytes(), &index.to_ne_bytes()].concat();
        taker.send(&request::extended(74, &body), &[]);
    }
    let mut last = -1;
    wait_until("one is being taken whose answer has no room", || {
        let before = last;
        last =
            (0..30).rfind(|index| other.get((tag, *index)).errno() == libc::ENOENT).unwrap_or(-1);
        std::thread::sleep(MEANWHILE);
        last >= 0 && last == before
    });
    last
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
fn a_claimant_that_dies_changes_nothing_and_its_owner_is_told() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        for mode in [LIVE, QUIESCED] {
            let mut old = daemon.owner(tag);
            let person = Person::same();
            person.greeted(&daemon).claim(tag, mode);
            let mut new = person.greeted(&daemon);
            new.claim(tag, mode);
            person.kill();
            let left = old.is_told_at_last(tag, What::Left);
            assert_eq!(left.pid.cast_unsigned(), person.pid());
            old.add((tag, 0), "still mine").done();
        }
    }
}

#[test]
fn a_claimant_that_is_not_ready_in_time_claims_no_more() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        for mode in [LIVE, QUIESCED] {
            let mut old = daemon.owner(tag);
            let mut new = daemon.greeted();
            let claim = new.claim_for(tag, mode, 50);
            assert_eq!(new.is_told(tag, What::Expired).claim, claim.claim);
            old.is_told_at_last(tag, What::TimedOut);
            assert_eq!(new.ready(tag).errno(), libc::EINVAL);
            assert_eq!(new.withdraw(tag).errno(), libc::EINVAL);
            old.add((tag, 0), "still mine").done();
            assert_eq!(old.release(tag).errno(), libc::EINVAL);
        }
    }
}

#[test]
fn the_time_of_a_claim_begins_with_its_turn() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        let (mut first, mut second) = (daemon.greeted(), daemon.greeted());
        first.claim(tag, LIVE);
        assert_eq!(second.claim_for(tag, LIVE, 50).state, State::Waiting);
        second.is_told_nothing(MEANWHILE);
        first.withdraw(tag).done();
        second.is_told(tag, What::Granted);
        second.is_told(tag, What::Expired);
        old.is_told_at_last(tag, What::TimedOut);
    }
}

#[test]
fn three_at_once_have_their_turns_one_after_the_other() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut old = daemon.owner(tag);
        let mut claimants: Vec<Peer> = (0..3).map(|_| daemon.greeted()).collect();
        let states: Vec<_> = claimants.iter_mut().map(|peer| peer.claim(tag, LIVE)).collect();
        assert_eq!(states, [State::Granted, State::Waiting, State::Waiting]);
        old.is_told(tag, What::ClaimedLive);
        old.is_told_nothing(MEANWHILE);
        let [first, second, third] = &mut claimants[..] else { unreachable!() };
        first.ready(tag).done();
        old.is_told(tag, What::Completed);
        first.is_told(tag, What::ClaimedLive);
        second.is_told(tag, What::Granted);
        second.withdraw(tag).done();
        // That the one before has left is old news by then.
        first.is_told(tag, What::ClaimedLive);
        third.is_told(tag, What::Granted);
        third.ready(tag).done();
        first.is_told(tag, What::Completed);
    }
}

#[test]
fn who_never_settles_is_claimed_from_when_its_time_is_up() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let (mut old, mut new) = (daemon.greeted(), daemon.greeted());
        assert_eq!(old.claim_for(tag, LIVE | SETTLE, 300).state, State::Owned);
        assert_eq!(new.claim_for(tag, LIVE | SETTLE, 300).state, State::Waiting);
        old.is_told(tag, What::ClaimedLive);
        new.is_told(tag, What::Granted);
        new.ready(tag).done();
        let mut third = daemon.greeted();
        assert_eq!(third.claim(tag, LIVE), State::Waiting);
        third.is_told(tag, What::Granted);
        third.ready(tag).done();
        new.is_told_at_last(tag, What::Completed);
    }
}

#[test]
fn an_owner_that_claims_again_settles_no_longer_by_that() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let (mut old, mut new) = (daemon.greeted(), daemon.greeted());
        assert_eq!(old.claim_for(tag, LIVE | SETTLE, 300).state, State::Owned);
        assert_eq!(new.claim(tag, LIVE), State::Waiting);
        assert_eq!(old.claim(tag, LIVE | SETTLE), State::Owned);
        new.is_told(tag, What::Granted);
        // Nor does it begin to settle anew.
        assert_eq!(old.claim(tag, LIVE | SETTLE), State::Owned);
        new.withdraw(tag).done();
        assert_eq!(new.claim(tag, LIVE), State::Granted);
    }
}

#[test]
fn while_an_owner_settles_nobody_takes_over_from_it() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let (mut old, mut new, mut third) = (daemon.greeted(), daemon.greeted(), daemon.greeted());
        assert_eq!(old.claim(tag, LIVE | SETTLE), State::Owned);
        assert_eq!(new.claim_for(tag, LIVE | SETTLE, 1).state, State::Waiting);
        assert_eq!(third.claim(tag, LIVE), State::Waiting);
        // The clock of the claim does not run either.
        assert!(old.event_within(MEANWHILE).is_none());
        assert!(new.event_within(Duration::ZERO).is_none());
        old.add((tag, 0), "all in its place").done();
        new.withdraw(tag).done();
        assert_eq!(new.claim(tag, LIVE | SETTLE), State::Waiting);
        old.ready(tag).done();
        old.is_told(tag, What::ClaimedLive);
        third.is_told(tag, What::Granted);
        third.withdraw(tag).done();
        new.is_told(tag, What::Granted);
        new.ready(tag).done();

        // Taken over, it settles as well.
        assert_eq!(third.claim(tag, LIVE), State::Waiting);
        new.add((tag, 0), "the next one's").done();
        assert!(third.event_within(MEANWHILE).is_none());
        new.ready(tag).done();
        third.is_told(tag, What::Granted);
        assert_eq!(third.get((tag, 0)).payload(), b"the next one's");
    }
}

#[test]
fn an_owner_that_dies_leaves_the_tag_to_its_claimant_at_once_whatever_the_stage() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        for (mode, releases) in [(LIVE, false), (QUIESCED, false), (QUIESCED, true)] {
            let person = Person::same();
            let mut old = person.greeted(&daemon);
            assert_eq!(old.claim(tag, LIVE), State::Owned);
            old.add((tag, 0), "left behind").done();
            let (mut new, mut queued) = (daemon.greeted(), daemon.greeted());
            new.claim(tag, mode);
            assert_eq!(queued.claim(tag, LIVE), State::Waiting);
            if releases {
                old.release(tag).done();
            }
            person.kill();
            let owned = new.is_told_at_last(tag, What::Owned);
            assert_eq!(owned.pid.cast_unsigned(), person.pid());
            new.is_told(tag, What::ClaimedLive);
            queued.is_told(tag, What::Granted);
            queued.withdraw(tag).done();
            assert_eq!(new.get((tag, 0)).payload(), b"left behind");
            new.del((tag, 0)).done();
        }
    }
}

#[test]
fn an_owner_that_withdraws_gives_the_tag_to_whoever_is_next() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let (mut old, mut claimant) = (daemon.owner(tag), daemon.greeted());
        claimant.claim(tag, QUIESCED);
        old.withdraw(tag).done();
        claimant.is_told(tag, What::Owned);
        assert_eq!(old.withdraw(tag).errno(), libc::EINVAL);
        claimant.withdraw(tag).done();
        assert_eq!(old.claim(tag, AGAIN), State::Owned);
    }
    let mut owner = daemon.owner(SERIAL);
    owner.add((SERIAL, 0), "x").done();
    let mut waits = daemon.connect();
    waits.send(&request::get((SERIAL, 0)), &[]);
    assert!(!waits.is_answered(MEANWHILE));
    owner.withdraw(SERIAL).done();
    assert_eq!(waits.answer().payload(), b"x");
}

#[test]
fn who_has_been_overtaken_may_take_the_tag_back() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let (mut old, mut new) = (daemon.owner(tag), daemon.greeted());
        old.add((tag, 0), "x").done();
        new.claim(tag, LIVE);
        new.ready(tag).done();
        old.is_told_at_last(tag, What::Completed);
        assert_eq!(old.try_claim(tag, AGAIN, LONG).errno(), libc::ESTALE);
        assert_eq!(old.claim(tag, QUIESCED), State::Waiting);
        // Until it owns it again, it is overtaken.
        assert_eq!(old.add((tag, 0), "y").errno(), libc::ESTALE);
        new.release(tag).done();
        old.is_told(tag, What::Granted);
        assert_eq!(old.get((tag, 0)).payload(), b"x");
        assert_eq!(old.add((tag, 0), "y").errno(), libc::EBUSY);
        old.ready(tag).done();
        old.add((tag, 0), "y").done();
        assert_eq!(new.add((tag, 0), "z").errno(), libc::ESTALE);
        // Who does not want it any more is like anybody else again.
        new.withdraw(tag).done();
        assert_eq!(new.withdraw(tag).errno(), libc::EINVAL);
    }
}

#[test]
fn on_a_serial_tag_an_overtaken_session_is_refused_whatever_it_asks() {
    let daemon = Daemon::of_claims();
    for (tag, expected) in [(WEB, 0), (SERIAL, libc::ESTALE)] {
        let (mut old, mut new) = (daemon.owner(tag), daemon.greeted());
        old.add((tag, 0), "x").done();
        new.claim(tag, LIVE);
        new.ready(tag).done();
        assert_eq!(old.get((tag, 0)).errno(), expected);
        assert_eq!(old.tag(tag).errno(), expected);
    }
}

#[test]
fn an_owner_that_never_claimed_is_not_told_and_its_claimant_waits() {
    let daemon = Daemon::of_claims();
    let mut old = daemon.greeted();
    old.add((SERIAL, 0), "x").done();
    let mut new = daemon.greeted();
    assert_eq!(new.claim_for(SERIAL, LIVE, 50).state, State::Waiting);
    new.is_told(SERIAL, What::Expired);
    assert_eq!(new.claim(SERIAL, LIVE), State::Waiting);
    old.is_told_nothing(MEANWHILE);
    assert_eq!(old.release(SERIAL).errno(), libc::EINVAL);
    old.add((SERIAL, 0), "nothing keeps it from that").done();
    // It claims: then it is told, and the claim goes on.
    assert_eq!(old.claim(SERIAL, LIVE), State::Owned);
    old.is_told(SERIAL, What::ClaimedLive);
    new.is_told(SERIAL, What::Granted);
    new.withdraw(SERIAL).done();

    let mut old = daemon.connect();
    daemon.connect();
    old.add((WEB, 0), "touching a tag that is not serial owns nothing").done();
    assert_eq!(daemon.greeted().claim(WEB, LIVE), State::Owned);
}

#[test]
fn an_owner_that_claims_again_is_told_again_of_the_claim_that_is_under_way() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        for (mode, what) in [(LIVE, What::ClaimedLive), (QUIESCED, What::ClaimedQuiesced)] {
            let (mut old, mut new) = (daemon.owner(tag), daemon.greeted());
            let claim = new.claim_for(tag, mode, LONG).claim;
            assert_eq!(old.is_told(tag, what).claim, claim);
            assert_eq!(old.claim(tag, AGAIN), State::Owned);
            assert_eq!(old.is_told(tag, what).claim, claim);
            if mode == QUIESCED {
                old.release(tag).done();
                new.is_told(tag, What::Granted);
            }
            new.is_told_nothing(MEANWHILE);
            new.ready(tag).done();
        }
    }
}

#[test]
fn an_owner_that_never_claimed_leaves_the_tag_to_its_claimant_and_not_to_who_waits() {
    let daemon = Daemon::of_claims();
    let mut old = daemon.connect();
    old.add((SERIAL, 0), "x").done();
    let mut waits = daemon.connect();
    waits.send(&request::get((SERIAL, 0)), &[]);
    assert!(!waits.is_answered(MEANWHILE));
    let mut new = daemon.greeted();
    assert_eq!(new.claim(SERIAL, QUIESCED), State::Waiting);
    drop(old);
    new.is_told(SERIAL, What::Owned);
    assert!(!waits.is_answered(MEANWHILE));
    new.withdraw(SERIAL).done();
    assert_eq!(waits.answer().payload(), b"x");
}

#[test]
fn what_a_claimant_has_asked_of_a_serial_tag_is_answered_when_it_is_granted() {
    let daemon = Daemon::of_claims();
    let (mut old, mut new) = (daemon.owner(SERIAL), daemon.greeted());
    old.add((SERIAL, 0), "x").done();
    assert_eq!(new.claim(SERIAL, QUIESCED), State::Waiting);
    new.send(&request::get((SERIAL, 0)), &[]);
    assert!(!new.answers_within(MEANWHILE));
    old.is_told(SERIAL, What::ClaimedQuiesced);
    old.release(SERIAL).done();
    assert_eq!(new.answer().payload(), b"x");
    new.is_told(SERIAL, What::Granted);
    // Its owner has not lost its turn.
    assert_eq!(old.get((SERIAL, 0)).payload(), b"x");
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut owner = daemon.owner(tag);
        let mut stranger = daemon.greeted();
        for answer in [stranger.ready(tag), stranger.release(tag), stranger.withdraw(tag)] {
            assert_eq!(answer.errno(), libc::EINVAL);
        }
        assert_eq!(stranger.try_claim(tag, AGAIN, LONG).errno(), libc::ESTALE);
        assert_eq!(owner.release(tag).errno(), libc::EINVAL);
        owner.ready(tag).done();
        assert_eq!(owner.claim(tag, QUIESCED), State::Owned);
        assert_eq!(stranger.claim(tag, QUIESCED), State::Waiting);
        assert_eq!(stranger.try_claim(tag, LIVE, LONG).errno(), libc::EINVAL);
        assert_eq!(stranger.ready(tag).errno(), libc::EBUSY);
        for (mode, time) in [(3, 1), (-1, 1), (0, 0), (0, -1), (0, LONG + 1)] {
            assert_eq!(stranger.try_claim(tag, mode, time).errno(), libc::EINVAL);
        }
    }
    assert_eq!(daemon.greeted().try_claim(12, LIVE, LONG).errno(), libc::EACCES);
    let mut ungreeted = daemon.connect();
    assert_eq!(ungreeted.try_claim(WEB, LIVE, LONG).errno(), libc::EPROTO);
    ungreeted.ask(&request::hello_for(7), &[]);
    assert_eq!(ungreeted.try_claim(WEB, LIVE, LONG).errno(), libc::EPROTO);
}

#[test]
fn a_release_to_a_claim_that_has_ended_releases_to_nobody_else() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let mut owner = daemon.owner(tag);
        let (mut first, mut second) = (daemon.greeted(), daemon.greeted());
        let ended = first.claim_for(tag, QUIESCED, LONG).claim;
        let next = second.claim_for(tag, QUIESCED, LONG).claim;
        first.withdraw(tag).done();
        assert_eq!(owner.ask(&request::release_to(tag, ended), &[]).errno(), libc::EINVAL);
        second.is_told_nothing(MEANWHILE);
        owner.add((tag, 0), "up to date for the second").done();
        owner.ask(&request::release_to(tag, next), &[]).done();
        second.is_told(tag, What::Granted);
    }
}

#[test]
fn a_session_has_a_bounded_number_of_tags_at_stake() {
    let tags: String = (0..70).map(|tag| format!("[tags.t{tag}]\nid = {tag}\n")).collect();
    let rule = &POLICY[POLICY.find("[[rules]]").unwrap()..];
    let daemon = Daemon::with_policy(&format!("{tags}{rule}")).start();
    let mut greedy = daemon.greeted();
    for tag in 0..64 {
        assert_eq!(greedy.claim(tag, LIVE), State::Owned);
    }
    assert_eq!(greedy.try_claim(64, LIVE, LONG).errno(), libc::EDQUOT);
    assert_eq!(greedy.claim(63, LIVE), State::Owned);
    greedy.withdraw(5).done();
    assert_eq!(greedy.claim(64, LIVE), State::Owned);
    assert_eq!(daemon.greeted().claim(65, LIVE), State::Owned);
}

const ONE_MAY: &str = r#"
[tags.web]
id = 10

[[rules]]
id = "one may take it over"
allow = ["claim"]
slots = ["web/*"]
user = 64101

[[rules]]
id = "all may do anything else"
allow = ["get", "add", "del", "tag", "replace", "list"]
slots = ["web/*"]
anyone = true
"#;

#[test]
fn nobody_but_whom_the_policy_lets_takes_a_tag_over() {
    if !needs_root("users of whom one may claim") {
        return;
    }
    let daemon = Daemon::with_policy(ONE_MAY).start();
    let (one, other) = (Person::user(64101), Person::user(64102));
    let mut owner = one.greeted(&daemon);
    assert_eq!(owner.claim(WEB, LIVE), State::Owned);
    let mut stranger = other.greeted(&daemon);
    for mode in [LIVE, QUIESCED, AGAIN] {
        assert_eq!(stranger.try_claim(WEB, mode, LONG).errno(), libc::EACCES);
    }
    assert_eq!(stranger.ready(WEB).errno(), libc::EACCES);
    let record = daemon.log().decisions().into_iter().rfind(|record| record.uid == 64102).unwrap();
    assert_eq!((&*record.right, &*record.verdict, &*record.slot), ("claim", "refused", "10/*"));
    assert_eq!(one.greeted(&daemon).claim(WEB, LIVE), State::Granted);
    assert_eq!(owner.is_told(WEB, What::ClaimedLive).uid, 64101);
}

#[test]
fn whoever_gets_hold_of_the_connection_gives_up_nothing_that_it_could_not_claim() {
    if !needs_root("a connection in the hands of another user") {
        return;
    }
    let daemon = Daemon::with_policy(ONE_MAY).start();
    let one = Person::user(64101);
    let socket = one.open_connection(daemon.socket()).unwrap();
    let mut stolen = Person::user(64102).take_over(socket.share().unwrap()).greeted();
    let mut owner = one.take_over(socket.share().unwrap());
    assert_eq!(owner.claim(WEB, LIVE), State::Owned);
    assert_eq!(stolen.withdraw(WEB).errno(), libc::EACCES);
    assert_eq!(stolen.release(WEB).errno(), libc::EACCES);
    owner.withdraw(WEB).done();
}

#[test]
fn a_reload_that_takes_the_right_away_keeps_a_claimant_from_being_ready() {
    let daemon = Daemon::of_claims();
    let (mut old, mut new) = (daemon.owner(WEB), daemon.greeted());
    assert_eq!(new.claim(WEB, QUIESCED), State::Waiting);
    let without = POLICY.replace("allow = [\"*\"]", "allow = [\"*\"]\ndeny = [\"claim\"]");
    daemon.reload(&without);
    // To give something up takes no right.
    old.release(WEB).done();
    new.is_told(WEB, What::Granted);
    assert_eq!(new.ready(WEB).errno(), libc::EACCES);
    new.withdraw(WEB).done();
    old.add((WEB, 0), "still mine").done();
    assert_eq!(new.try_claim(WEB, LIVE, LONG).errno(), libc::EACCES);
    old.withdraw(WEB).done();
}

#[test]
fn a_tag_does_not_pass_to_a_claimant_that_may_not_claim_it_any_more() {
    if !needs_root("a claimant whose right is taken away") {
        return;
    }
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        let outcast = Person::user(64101);
        let (mut old, mut lost) = (daemon.owner(tag), outcast.greeted(&daemon));
        let mut next = daemon.greeted();
        assert_eq!(lost.claim(tag, QUIESCED), State::Waiting);
        assert_eq!(next.claim(tag, QUIESCED), State::Waiting);
        let denied =
            "[[rules]]\nid = \"not that one\"\ndeny = [\"claim\"]\nslots = [\"*\"]\nuser = 64101\n";
        daemon.reload(&format!("{POLICY}\n{denied}"));
        old.withdraw(tag).done();
        next.is_told(tag, What::Owned);
        lost.is_told(tag, What::Expired);
        assert_eq!(lost.ready(tag).errno(), libc::EACCES);
        daemon.reload(POLICY);
    }
}

#[test]
fn a_claimant_that_waited_for_its_turn_to_take_takes_nothing_when_it_is_granted() {
    let daemon = Daemon::of_claims();
    let (mut old, mut new) = (daemon.owner(SERIAL), daemon.greeted());
    old.add((SERIAL, 0), "as it was").done();
    assert_eq!(new.claim(SERIAL, QUIESCED), State::Waiting);
    let body = [&SERIAL.to_ne_bytes()[..], &1i16.to_ne_bytes(), &0i32.to_ne_bytes()].concat();
    new.send_and_be_read(&request::extended(74, &body));
    old.release(SERIAL).done();
    assert_eq!(got(new.answer()), libc::EBUSY);
    assert_eq!(old.get((SERIAL, 0)).payload(), b"as it was");
}

#[test]
fn who_was_granted_a_serial_tag_and_lost_it_changes_nothing_there() {
    let daemon = Daemon::of_claims();
    let (mut old, mut new, mut filler) = (daemon.owner(SERIAL), daemon.greeted(), daemon.connect());
    old.add((SERIAL, 0), "as it was").done();
    for _ in 0..3 {
        assert_eq!(new.claim_for(SERIAL, QUIESCED, 1500).state, State::Waiting);
        old.is_told_at_last(SERIAL, What::ClaimedQuiesced);
        // It waits for its turn, and has it as long as the claim is granted.
        new.send_and_be_read(&request::add((SERIAL, 0), -1, b"too late"));
        fill(&daemon, &mut filler);
        old.send_and_be_read(&request::release(SERIAL));
        // Its time is up before the owner's turn to release comes.
        std::thread::sleep(Duration::from_millis(1500));
        daemon.go_on();
        old.answer().done();
        filler.answer().done();
        if new.answers_within(MEANWHILE) {
            assert_eq!(new.answer().errno(), libc::EBUSY);
        } else {
            new = daemon.greeted();
        }
        assert_eq!(old.get((SERIAL, 0)).payload(), b"as it was");
    }
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
