//! Claims and turns on serial tags, with owners that never claimed among them.

use super::*;

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
    // How long the claim is granted, in milliseconds.
    const TIME: i32 = 1500;
    let daemon = Daemon::of_claims();
    let (mut old, mut new, mut filler) = (daemon.owner(SERIAL), daemon.greeted(), daemon.connect());
    old.add((SERIAL, 0), "as it was").done();
    for _ in 0..3 {
        assert_eq!(new.claim_for(SERIAL, QUIESCED, TIME).state, State::Waiting);
        old.is_told_at_last(SERIAL, What::ClaimedQuiesced);
        // It waits for its turn, and has it as long as the claim is granted.
        new.send_and_be_read(&request::add((SERIAL, 0), -1, b"too late"));
        fill(&daemon, &mut filler);
        old.send_and_be_read(&request::release(SERIAL));
        // Its time is up before the owner's turn to release comes. Nothing tells of that while the
        // supervisor stands still, but the clock.
        std::thread::sleep(Duration::from_millis(TIME.unsigned_abs().into()));
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
