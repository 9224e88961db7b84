//! Tests: whose time is up, and when. Nothing here waits: the clock of these tests stands still until
//! it is advanced.

use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::claim::{Event, Mode, State, What};
use fdbroker_wire::{Decoder, Limits, Message, Tag};
use tokio::time::{Instant, advance};

use super::claim::{Claim, End};
use super::participant::Participant;
use super::registry::OwnershipRegistry;
use crate::fd::PeerFd;
use crate::worker::identity::Identity;

const MINUTE: Duration = Duration::from_secs(60);
const INSTANT: Duration = Duration::from_millis(1);

/// A tag, as it is between sessions that claim it.
struct Scene {
    registry: OwnershipRegistry,
    tag: Tag,
}

impl Scene {
    fn new() -> Self {
        Self { registry: OwnershipRegistry::default(), tag: Tag::new(1).unwrap() }
    }

    fn session(&self) -> Rc<Participant> {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        self.registry.participant(&Rc::new(Identity::of(&ours, true).unwrap()))
    }

    fn claim(&self, who: &Rc<Participant>, mode: Mode, time: Duration, settles: bool) -> State {
        let claim = Claim::new(self.registry.number(), who, mode, time, settles);
        self.registry.with_mut(self.tag, |ownership| ownership.claim(claim)).0
    }

    fn owner(&self) -> Rc<Participant> {
        let owner = self.session();
        assert!(self.claim(&owner, Mode::Live, MINUTE, false) == State::Owned);
        owner
    }

    fn ready(&self, who: &Rc<Participant>) {
        self.registry.with_mut(self.tag, |ownership| ownership.ready(who));
    }

    fn withdraw(&self, who: &Rc<Participant>) {
        let leave = |_: &Participant| true;
        self.registry.with_mut(self.tag, |ownership| ownership.leave(who, End::Withdrawn, leave));
    }

    fn is_granted_to(&self, who: &Rc<Participant>) -> bool {
        self.registry.with(self.tag, |ownership| ownership.is_granted_to(who))
    }

    fn is_owned_by(&self, who: &Rc<Participant>) -> bool {
        self.registry.with(self.tag, |ownership| ownership.is_owned_by(who))
    }

    /// Lets time pass, and ends what is up by then, as the worker's timer does.
    async fn pass(&self, time: Duration) {
        let until = Instant::now() + time;
        while let Some((due, tag)) = self.registry.next_due().filter(|(due, _)| *due <= until) {
            advance(due.saturating_duration_since(Instant::now())).await;
            self.registry.with_mut(tag, |ownership| ownership.expire(Instant::now()));
        }
        advance(until.saturating_duration_since(Instant::now())).await;
    }
}

/// What a session is told.
fn events(who: &Participant) -> Vec<Event> {
    let mut decoder = Decoder::<PeerFd>::new(Limits::PEER);
    decoder.feed(&who.events.take(), Vec::new(), false);
    let messages = std::iter::from_fn(|| decoder.message());
    let events = messages.map(|message| match message {
        Ok(Message::Extended(message)) => Event::from_extended(message).unwrap().unwrap(),
        _ => panic!("this is no event"),
    });
    events.collect()
}

fn told(who: &Participant) -> Vec<What> {
    events(who).iter().map(|event| event.what).collect()
}

#[tokio::test(start_paused = true)]
async fn a_claim_ends_when_its_time_is_up_and_not_before() {
    for (mode, first) in [(Mode::Live, What::ClaimedLive), (Mode::Quiesced, What::ClaimedQuiesced)]
    {
        let scene = Scene::new();
        let (owner, claimant) = (scene.owner(), scene.session());
        scene.claim(&claimant, mode, MINUTE, false);
        assert_eq!(told(&owner), [first]);
        scene.pass(MINUTE - INSTANT).await;
        assert_eq!(told(&claimant), []);
        scene.pass(INSTANT).await;
        assert_eq!(told(&claimant), [What::Expired]);
        assert_eq!(told(&owner), [What::TimedOut]);
        assert!(scene.is_owned_by(&owner) && !scene.is_granted_to(&claimant));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_tells_the_time_that_is_left_when_it_is_sent() {
    let scene = Scene::new();
    let (owner, claimant) = (scene.owner(), scene.session());
    scene.claim(&claimant, Mode::Live, MINUTE, false);
    scene.pass(MINUTE / 4).await;
    assert_eq!(events(&owner)[0].left, MINUTE / 4 * 3);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_claim_begins_with_its_turn() {
    let scene = Scene::new();
    let (_owner, first, second) = (scene.owner(), scene.session(), scene.session());
    scene.claim(&first, Mode::Live, MINUTE * 2, false);
    assert!(scene.claim(&second, Mode::Live, MINUTE, false) == State::Waiting);
    scene.pass(MINUTE + INSTANT).await;
    assert_eq!(told(&second), []);
    scene.withdraw(&first);
    scene.pass(MINUTE - INSTANT).await;
    assert_eq!(told(&second), [What::Granted]);
    scene.pass(INSTANT).await;
    assert_eq!(told(&second), [What::Expired]);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_have_their_turns_though_nobody_is_ready_in_time() {
    let scene = Scene::new();
    let owner = scene.owner();
    let claimants = [(); 3].map(|()| scene.session());
    for claimant in &claimants {
        scene.claim(claimant, Mode::Live, MINUTE, false);
    }
    for claimant in &claimants {
        assert!(scene.is_granted_to(claimant));
        scene.pass(MINUTE).await;
        assert_eq!(told(claimant).last(), Some(&What::Expired));
    }
    assert!(scene.is_owned_by(&owner) && scene.registry.next_due().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_never_settles_is_claimed_from_when_its_time_is_up() {
    let scene = Scene::new();
    let (owner, claimant) = (scene.session(), scene.session());
    assert!(scene.claim(&owner, Mode::Live, MINUTE, true) == State::Owned);
    assert!(scene.claim(&claimant, Mode::Live, MINUTE, false) == State::Waiting);
    scene.pass(MINUTE - INSTANT).await;
    assert!(!scene.is_granted_to(&claimant) && told(&owner).is_empty());
    scene.pass(INSTANT).await;
    assert!(scene.is_granted_to(&claimant));
    assert_eq!(told(&owner), [What::ClaimedLive]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_claims_again_settles_no_longer_by_that() {
    let scene = Scene::new();
    let (owner, claimant) = (scene.session(), scene.session());
    scene.claim(&owner, Mode::Live, MINUTE, true);
    scene.claim(&claimant, Mode::Live, MINUTE, false);
    scene.pass(MINUTE / 2).await;
    assert!(scene.claim(&owner, Mode::Live, MINUTE, true) == State::Owned);
    scene.pass(MINUTE / 2).await;
    assert!(scene.is_granted_to(&claimant));
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_has_its_own_time_to_settle() {
    let scene = Scene::new();
    let (_owner, next, last) = (scene.owner(), scene.session(), scene.session());
    scene.claim(&next, Mode::Live, MINUTE, true);
    scene.claim(&last, Mode::Live, MINUTE, false);
    scene.pass(MINUTE / 2).await;
    scene.ready(&next);
    scene.pass(MINUTE - INSTANT).await;
    assert!(scene.is_owned_by(&next) && !scene.is_granted_to(&last));
    scene.pass(INSTANT).await;
    assert!(scene.is_granted_to(&last));
}
