//! The worker dies in the middle of a hand-over: whatever the step, a tag has one owner afterwards.

use fdbroker_tests::claims::{AGAIN, BOTH, LIVE, LONG, QUIESCED};
use fdbroker_tests::{Daemon, HelperProcess, Peer};
use fdbroker_wire::claim::{State, What};

/// Two processes: one that owns the tag, and one that is to take it over.
struct Scene {
    daemon: Daemon,
    tag: i16,
    old: HelperProcess,
    new: HelperProcess,
    owner: Peer,
    claimant: Peer,
}

impl Scene {
    fn new(tag: i16) -> Self {
        let daemon = Daemon::of_claims();
        let (old, new) = (HelperProcess::same(), HelperProcess::same());
        let mut owner = old.greeted(&daemon);
        assert_eq!(owner.claim(tag, LIVE), State::Owned);
        owner.add((tag, 0), "the owner's").done();
        let claimant = new.greeted(&daemon);
        Self { daemon, tag, old, new, owner, claimant }
    }

    /// Kills the worker; both have to connect again.
    fn crash(&mut self) {
        self.daemon.kill_worker();
        while !self.owner.answer().is_closed() {}
        while !self.claimant.answer().is_closed() {}
        self.owner = self.old.greeted(&self.daemon);
        self.claimant = self.new.greeted(&self.daemon);
    }

    /// The old one is the only owner, and the hand-over can be done from the start.
    fn the_old_one_owns_it(mut self, mode: i16) {
        let tag = self.tag;
        assert_eq!(self.claimant.try_claim(tag, AGAIN, LONG).errno(), libc::ESTALE);
        assert_eq!(self.claimant.claim(tag, mode), State::Waiting);
        assert_eq!(self.claimant.ready(tag).errno(), libc::EBUSY);
        assert_eq!(self.owner.claim(tag, AGAIN), State::Owned);
        if mode == QUIESCED {
            self.owner.is_told(tag, What::ClaimedQuiesced);
            self.owner.add((tag, 0), "the owner's").done();
            self.owner.release(tag).done();
        } else {
            self.owner.is_told(tag, What::ClaimedLive);
        }
        self.claimant.is_told(tag, What::Granted);
        assert_eq!(self.claimant.get((tag, 0)).payload(), b"the owner's");
        self.claimant.ready(tag).done();
        self.owner.is_told(tag, What::Completed);
        self.claimant.add((tag, 0), "the new one's").done();
    }
}

#[test]
fn before_the_claim_is_granted() {
    for tag in BOTH {
        let mut scene = Scene::new(tag);
        assert_eq!(scene.claimant.claim(tag, QUIESCED), State::Waiting);
        scene.owner.is_told(tag, What::ClaimedQuiesced);
        scene.crash();
        scene.the_old_one_owns_it(QUIESCED);
    }
}

#[test]
fn when_a_live_claim_has_been_granted() {
    for tag in BOTH {
        let mut scene = Scene::new(tag);
        assert_eq!(scene.claimant.claim(tag, LIVE), State::Granted);
        scene.crash();
        scene.the_old_one_owns_it(LIVE);
    }
}

#[test]
fn when_the_owner_has_released() {
    for tag in BOTH {
        let mut scene = Scene::new(tag);
        assert_eq!(scene.claimant.claim(tag, QUIESCED), State::Waiting);
        scene.owner.release(tag).done();
        scene.claimant.is_told(tag, What::Granted);
        scene.crash();
        scene.the_old_one_owns_it(QUIESCED);
    }
}

#[test]
fn right_after_the_claimant_was_ready() {
    for tag in BOTH {
        for mode in [LIVE, AGAIN] {
            let mut scene = Scene::new(tag);
            assert_eq!(scene.claimant.claim(tag, LIVE), State::Granted);
            scene.claimant.ready(tag).done();
            scene.crash();
            assert_eq!(scene.owner.try_claim(tag, AGAIN, LONG).errno(), libc::ESTALE);
            assert_eq!(scene.claimant.claim(tag, mode), State::Owned);
            scene.claimant.add((tag, 0), "the new one's").done();
        }
    }
}

#[test]
fn the_owner_that_is_kept_dies_without_having_come_back() {
    for tag in BOTH {
        let mut scene = Scene::new(tag);
        scene.crash();
        assert_eq!(scene.claimant.claim(tag, QUIESCED), State::Waiting);
        scene.old.kill();
        let owned = scene.claimant.is_told(tag, What::Owned);
        assert_eq!(owned.pid.cast_unsigned(), scene.old.pid());
        scene.claimant.add((tag, 0), "the new one's").done();
    }
}

#[test]
fn a_tag_that_nobody_owned_stays_free() {
    for tag in BOTH {
        let mut scene = Scene::new(tag);
        scene.owner.withdraw(tag).done();
        scene.crash();
        assert_eq!(scene.claimant.claim(tag, AGAIN), State::Owned);
    }
}
