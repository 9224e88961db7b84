//! How far an upgrade is, as the broker's events and our own requests tell: no I/O.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fdbroker_wire::Tag;
use fdbroker_wire::claim::{Event, Mode, State, What};

use super::UpgradeError;
use crate::Error;

/// What happens to an upgrader whose process owns its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// Another process wants to take over.
    Claimed(Claimant),
    /// It has ended, gave up or was not ready in time: this process goes on as before.
    Withdrawn,
    /// It has taken over.
    Completed,
    /// The broker was restarted as a whole, and has not kept all that was deposited:
    /// [`super::Upgrader::names`] says what is left, and the rest has to be added again. Listening
    /// sockets are not told of: the upgrader has deposited them again by itself.
    Forgotten,
    /// [`super::Upgrader::stop`] was called.
    Stopped,
}

/// Who wants to take over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Claimant {
    /// [`Mode::Quiesced`]: it waits until this process has stopped, brought what it stored up to
    /// date, and called [`super::Upgrader::release`].
    pub mode: Mode,
    /// Its process id; 0 when it has none here.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// How long it may still take.
    pub left: Duration,
}

/// How far this process is.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// It has claimed the tag, and waits for its turn.
    Waiting,
    /// It may inherit the deposits, and is not ready yet.
    Granted,
    /// The tag is its own, and it is not ready yet.
    Owned,
    /// The tag is its own.
    Serving,
    /// The tag is another process's.
    Completed,
    /// It has given up.
    Stopped,
    /// It was not ready in time.
    Expired,
    /// The deposits have changed since it inherited them.
    Changed,
    /// It could not claim the tag again.
    Lost(Arc<Error>),
}

/// Where a change is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Here, until this process is ready.
    Here,
    /// At the broker.
    Broker,
}

/// What is to be done at once because of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Duty {
    /// Nothing.
    None,
    /// Releasing what was released to the same claimant before.
    ReleaseAgain {
        /// Its claim, made again.
        claim: i32,
    },
}

/// How far an upgrade is.
#[derive(Debug)]
pub(crate) struct StateMachine {
    tag: Tag,
    /// How long it may take to be ready, for the error.
    time: Duration,
    stage: Stage,
    claim: Option<Claim>,
    news: Option<Happening>,
    /// Whether the broker has forgotten something, and that was not told: nothing that happens
    /// later makes up for it.
    forgotten: bool,
    #[cfg(feature = "tokio")]
    progress: Progress,
}

/// What an asynchronous caller waits for.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The latest that has happened, and the how manieth it is.
    pub(crate) latest: Option<(u64, Happening)>,
    /// How often the broker has forgotten something.
    pub(crate) forgotten: u64,
    /// Whether nothing more can happen.
    pub(crate) over: bool,
}

/// A claim of another process.
#[derive(Clone, Copy, Debug)]
struct Claim {
    number: i32,
    claimant: Claimant,
    released: bool,
    /// Set if the connection on which we were told was lost: the claimant claims again before that,
    /// or has gone.
    until: Option<Instant>,
}

impl StateMachine {
    /// A machine that begins with a claim that was answered.
    pub(crate) fn new(tag: Tag, time: Duration, state: State) -> Self {
        let stage = match state {
            State::Waiting => Stage::Waiting,
            State::Granted => Stage::Granted,
            State::Owned => Stage::Owned,
        };
        Self {
            tag,
            time,
            stage,
            claim: None,
            news: None,
            forgotten: false,
            #[cfg(feature = "tokio")]
            progress: Progress::default(),
        }
    }

    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Whether nothing more can happen.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::Granted | Stage::Owned | Stage::Serving)
    }

    /// The error of what can no longer be done.
    pub(crate) fn is_alive(&self) -> Result<(), UpgradeError> {
        let tag = self.tag;
        match &self.stage {
            Stage::Waiting | Stage::Granted | Stage::Owned | Stage::Serving => Ok(()),
            Stage::Completed => Err(UpgradeError::Completed { tag }),
            Stage::Stopped => Err(UpgradeError::Stopped { tag }),
            Stage::Expired => {
                let what = "this process was not ready";
                Err(UpgradeError::TimedOut { tag, what, after: self.time })
            }
            Stage::Changed => Err(UpgradeError::Changed { tag }),
            Stage::Lost(source) => Err(UpgradeError::Lost { tag, source: source.clone() }),
        }
    }

    /// Returns where a change is made now; an error while none may be made.
    ///
    /// The broker decides whether a change may be made during a claim, since it knows the claim's
    /// state best. But a broker that was restarted does not know of a claim until it is made again.
    pub(crate) fn place(&self) -> Result<Place, UpgradeError> {
        self.is_alive()?;
        let expected = self.claim.as_ref().is_some_and(|claim| claim.until.is_some());
        match &self.stage {
            Stage::Serving if expected && self.is_fixed() => {
                Err(UpgradeError::InProgress { tag: self.tag })
            }
            Stage::Serving => Ok(Place::Broker),
            _ => Ok(Place::Here),
        }
    }

    /// Whether a claimant is looking at the deposits of the tag, so that none may change.
    pub(crate) fn is_fixed(&self) -> bool {
        let live = |claim: &Claim| claim.claimant.mode == Mode::Live;
        self.claim.as_ref().is_some_and(|claim| live(claim) || claim.released)
    }

    /// Returns an event that was not told yet. The end of the upgrader is told at each call.
    pub(crate) fn news(&mut self) -> Option<Happening> {
        match self.stage {
            Stage::Completed => Some(Happening::Completed),
            Stage::Stopped => Some(Happening::Stopped),
            _ if std::mem::take(&mut self.forgotten) => Some(Happening::Forgotten),
            _ => self.news.take(),
        }
    }

    /// Notes that the broker does not have any more what it had. Nor has a claimant what it was to
    /// take over: nobody waits for it to come back.
    pub(crate) fn forgotten(&mut self) {
        self.forgotten = true;
        #[cfg(feature = "tokio")]
        {
            self.progress.forgotten += 1;
        }
        self.withdrawn();
    }

    fn happened(&mut self, happening: Happening) {
        self.news = Some(happening);
        #[cfg(feature = "tokio")]
        {
            let number = self.progress.latest.map_or(1, |(number, _)| number + 1);
            self.progress.latest = Some((number, happening));
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn progress(&self) -> Progress {
        Progress { over: self.is_over(), ..self.progress }
    }

    pub(crate) fn advance(&mut self, stage: Stage) {
        if !self.is_over() {
            self.stage = stage;
        }
    }

    /// Notes that the owner releases the tag; returns the claim that it is for, as long as there is
    /// one.
    pub(crate) fn release(&mut self) -> Option<i32> {
        let claim = self.claim.as_mut()?;
        claim.released = true;
        Some(claim.number)
    }

    /// Takes in what the broker tells. Of a tag only its latest event comes, so each has to be
    /// enough by itself.
    pub(crate) fn heed(&mut self, event: Event) -> Duty {
        if event.tag != self.tag || self.is_over() {
            return Duty::None;
        }
        match event.what {
            What::Granted if matches!(self.stage, Stage::Waiting) => self.stage = Stage::Granted,
            What::Granted => {}
            What::Owned => self.is_owner(),
            What::Expired => self.stage = Stage::Expired,
            What::ClaimedLive => return self.claimed(&event, Mode::Live),
            What::ClaimedQuiesced => return self.claimed(&event, Mode::Quiesced),
            What::Left | What::TimedOut => {
                self.is_owner();
                self.withdrawn();
            }
            What::Completed => self.stage = Stage::Completed,
        }
        Duty::None
    }

    /// Only an owner is told of claims.
    fn is_owner(&mut self) {
        if matches!(self.stage, Stage::Waiting | Stage::Granted) {
            self.stage = Stage::Owned;
        }
    }

    fn claimed(&mut self, event: &Event, mode: Mode) -> Duty {
        self.is_owner();
        let Event { pid, uid, left, .. } = *event;
        let claimant = Claimant { mode, pid, uid, left };
        let again = |claim: &Claim| {
            claim.until.is_some() && (claim.claimant.pid, claim.claimant.mode) == (pid, mode)
        };
        if let Some(claim) = self.claim.as_mut().filter(|claim| again(claim)) {
            claim.until = None;
            claim.number = event.claim;
            let again = Duty::ReleaseAgain { claim: event.claim };
            return if claim.released { again } else { Duty::None };
        }
        self.claim = Some(Claim { number: event.claim, claimant, released: false, until: None });
        self.happened(Happening::Claimed(claimant));
        Duty::None
    }

    /// Notes that nobody claims the tag any more: there is not what a claimant was to take over.
    pub(crate) fn withdrawn(&mut self) {
        if self.claim.take().is_some() {
            self.happened(Happening::Withdrawn);
        }
    }

    /// Takes in the answer to a claim on a new connection; who claimed our tag has until then to
    /// do the same.
    pub(crate) fn claimed_again(&mut self, state: State, until: Instant) {
        match (&self.stage, state) {
            (Stage::Granted, State::Waiting) => self.stage = Stage::Waiting,
            (Stage::Waiting, State::Granted) => self.stage = Stage::Granted,
            (_, State::Owned) => self.is_owner(),
            _ => {}
        }
        if let Some(claim) = &mut self.claim {
            claim.until = Some(until);
        }
    }

    /// Forgets the claimant if it did not claim again in time; returns how long it still has, if it
    /// has.
    pub(crate) fn expect_claimant(&mut self, now: Instant) -> Option<Duration> {
        let until = self.claim?.until?;
        if now >= until {
            self.withdrawn();
            return None;
        }
        Some(until - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = match Tag::new(3) {
        Some(tag) => tag,
        None => panic!("3 is a tag"),
    };

    fn machine(state: State) -> StateMachine {
        StateMachine::new(TAG, Duration::from_secs(1), state)
    }

    fn serving() -> StateMachine {
        let mut machine = machine(State::Owned);
        machine.advance(Stage::Serving);
        machine
    }

    fn event(what: What, pid: i32) -> Event {
        Event { tag: TAG, what, claim: 1, pid, uid: 0, left: Duration::from_secs(1) }
    }

    #[test]
    fn an_owner_hears_of_a_claim_and_of_its_end() {
        let mut machine = serving();
        assert!(!machine.is_fixed());
        machine.heed(event(What::ClaimedLive, 7));
        assert!(machine.is_fixed());
        assert!(matches!(machine.news(), Some(Happening::Claimed(Claimant { pid: 7, .. }))));
        machine.heed(event(What::Left, 7));
        assert!(!machine.is_fixed());
        assert_eq!(machine.news(), Some(Happening::Withdrawn));
        assert_eq!(machine.news(), None);
    }

    #[test]
    fn a_quiescing_owner_changes_what_it_likes_until_it_releases() {
        let mut machine = serving();
        machine.heed(event(What::ClaimedQuiesced, 7));
        assert!(!machine.is_fixed());
        machine.release();
        assert!(machine.is_fixed());
        machine.heed(event(What::TimedOut, 7));
        assert!(!machine.is_fixed());
    }

    #[test]
    fn nothing_changes_while_a_claimant_may_come_back_that_the_broker_does_not_know() {
        let mut machine = serving();
        machine.heed(event(What::ClaimedLive, 7));
        assert_eq!(machine.place().unwrap(), Place::Broker, "it says no itself");
        machine.claimed_again(State::Owned, Instant::now() + Duration::from_secs(9));
        assert!(matches!(machine.place(), Err(UpgradeError::InProgress { .. })));
    }

    #[test]
    fn who_was_overtaken_is_told_so_for_ever() {
        let mut machine = serving();
        machine.heed(event(What::ClaimedLive, 7));
        machine.heed(event(What::Completed, 7));
        machine.heed(event(What::Left, 7));
        machine.advance(Stage::Serving);
        assert!(matches!(machine.place(), Err(UpgradeError::Completed { .. })));
        assert_eq!(machine.news(), Some(Happening::Completed));
        assert_eq!(machine.news(), Some(Happening::Completed));
    }

    #[test]
    fn a_claimant_that_only_hears_of_the_next_one_owns_the_tag() {
        for what in [What::ClaimedLive, What::ClaimedQuiesced, What::Left, What::Owned] {
            let mut machine = machine(State::Granted);
            machine.heed(event(what, 7));
            assert!(matches!(machine.stage(), Stage::Owned), "{what:?}");
        }
    }

    #[test]
    fn a_claimant_that_took_too_long_is_told_how_long_it_had() {
        let mut machine = machine(State::Waiting);
        machine.heed(event(What::Granted, 7));
        assert_eq!(machine.place().unwrap(), Place::Here);
        machine.heed(event(What::Expired, 7));
        let after = Duration::from_secs(1);
        let error = machine.place().unwrap_err();
        assert!(matches!(error, UpgradeError::TimedOut { after: told, .. } if told == after));
    }

    #[test]
    fn what_was_released_is_released_again_to_the_same_claimant_and_to_no_other() {
        let later = Instant::now() + Duration::from_secs(9);
        for (pid, duty) in [(7, Duty::ReleaseAgain { claim: 1 }), (8, Duty::None)] {
            let mut machine = serving();
            machine.heed(event(What::ClaimedQuiesced, 7));
            machine.release();
            machine.claimed_again(State::Owned, later);
            assert!(machine.is_fixed(), "as long as the claimant may come back");
            assert_eq!(machine.heed(event(What::ClaimedQuiesced, pid)), duty);
            assert_eq!(machine.is_fixed(), pid == 7);
        }
    }

    #[test]
    fn a_claimant_that_does_not_come_back_has_withdrawn() {
        let mut machine = serving();
        machine.heed(event(What::ClaimedLive, 7));
        machine.news();
        let until = Instant::now() + Duration::from_secs(9);
        machine.claimed_again(State::Owned, until);
        assert!(machine.expect_claimant(Instant::now()).is_some());
        assert!(machine.expect_claimant(until).is_none());
        assert_eq!(machine.news(), Some(Happening::Withdrawn));
        assert!(!machine.is_fixed());
    }

    #[test]
    fn that_the_broker_has_forgotten_something_is_told_whatever_happens_behind_it() {
        let mut machine = serving();
        machine.heed(event(What::ClaimedLive, 7));
        machine.news();
        machine.claimed_again(State::Owned, Instant::now() + Duration::from_secs(9));
        machine.forgotten();
        assert_eq!(machine.place().unwrap(), Place::Broker, "it can be added again at once");
        assert_eq!(machine.news(), Some(Happening::Forgotten));
        assert_eq!(machine.news(), Some(Happening::Withdrawn));
        machine.forgotten();
        machine.heed(event(What::ClaimedLive, 8));
        assert_eq!(machine.news(), Some(Happening::Forgotten));
        assert!(matches!(machine.news(), Some(Happening::Claimed(Claimant { pid: 8, .. }))));
        assert_eq!(machine.news(), None);
    }

    #[test]
    fn events_of_other_tags_mean_nothing() {
        let mut machine = serving();
        let tag = Tag::new(4).unwrap();
        machine.heed(Event { tag, ..event(What::Completed, 7) });
        assert_eq!(machine.place().unwrap(), Place::Broker);
    }
}
