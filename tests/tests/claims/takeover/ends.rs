//! How a claim, or an ownership, ends: in time, by itself, or with who had it.

use super::*;

#[test]
fn a_claimant_that_dies_changes_nothing_and_its_owner_is_told() {
    let daemon = Daemon::of_claims();
    for tag in BOTH {
        for mode in [LIVE, QUIESCED] {
            let mut old = daemon.owner(tag);
            let helper = HelperProcess::same();
            helper.greeted(&daemon).claim(tag, mode);
            let mut new = helper.greeted(&daemon);
            new.claim(tag, mode);
            helper.kill();
            let left = old.is_told_at_last(tag, What::Left);
            assert_eq!(left.pid.cast_unsigned(), helper.pid());
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
        // Nor does it begin to settle again.
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
            let helper = HelperProcess::same();
            let mut old = helper.greeted(&daemon);
            assert_eq!(old.claim(tag, LIVE), State::Owned);
            old.add((tag, 0), "left behind").done();
            let (mut new, mut queued) = (daemon.greeted(), daemon.greeted());
            new.claim(tag, mode);
            assert_eq!(queued.claim(tag, LIVE), State::Waiting);
            if releases {
                old.release(tag).done();
            }
            helper.kill();
            let owned = new.is_told_at_last(tag, What::Owned);
            assert_eq!(owned.pid.cast_unsigned(), helper.pid());
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
        // After WITHDRAW, a session that was overtaken is like any other.
        new.withdraw(tag).done();
        assert_eq!(new.withdraw(tag).errno(), libc::EINVAL);
    }
}
