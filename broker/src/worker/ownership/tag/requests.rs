//! What sessions ask of a tag: their turn, CLAIM, RELEASE, READY and WITHDRAW.

use std::rc::Rc;

use fdbroker_wire::claim::{Mode, State, What};
use tokio::sync::oneshot;

use super::state::{Owner, TagOwnership, Waiter};
use crate::log::Verdict;
use crate::worker::ownership::claim::{Claim, End, Refusal};
use crate::worker::ownership::participant::{Interest, Participant};

/// What a session's request for a tag comes to: its turn has come, or it waits.
pub(crate) enum Acquisition {
    Mine { newly: bool },
    Wait(oneshot::Receiver<bool>),
}

impl TagOwnership {
    /// Whether this session owns it, or is to wait until its turn has come.
    pub(crate) fn turn(&mut self, participant: &Rc<Participant>) -> Acquisition {
        if self.has_turn(participant) {
            return Acquisition::Mine { newly: false };
        }
        if self.is_to_be_had_by(participant) {
            self.owner =
                Owner::Session { participant: Rc::clone(participant), aware: false, settles: None };
            return Acquisition::Mine { newly: true };
        }
        let (turn, wait) = oneshot::channel();
        self.waiting.push_back(Waiter { participant: Rc::clone(participant), turn });
        Acquisition::Wait(wait)
    }

    /// Forgets that a request of this session waits, and with that the session's process.
    pub(crate) fn waits_no_more(&mut self, participant: &Participant) {
        self.waiting.retain(|waiter| waiter.participant.id != participant.id);
    }

    /// Whether this session may claim it.
    pub(crate) fn may_claim(&self, participant: &Participant, mode: Mode) -> Result<(), Refusal> {
        if self.position_of(participant).is_some() {
            return Err(Refusal::Twice);
        }
        let to_be_had = self.is_owned_by(participant) || self.is_to_be_had_by(participant);
        if mode == Mode::Again && !to_be_had {
            return Err(Refusal::Owned);
        }
        if participant.has_room_for(self.tag) { Ok(()) } else { Err(Refusal::TooMany) }
    }

    /// Takes up a claim that [`TagOwnership::may_claim`] allows; returns its state.
    pub(crate) fn claim(&mut self, claim: Claim) -> State {
        let participant = Rc::clone(&claim.participant);
        participant.events.forget(self.tag);
        if self.is_owned_by(&participant) || self.is_to_be_had_by(&participant) {
            let settles = claim.settles().and_then(|due| self.settles_until(due));
            self.is_now_owned_by(&participant, settles);
            // What it has been told before may be forgotten by now.
            self.claims.front_mut().into_iter().for_each(|claim| claim.told = false);
            self.go_on();
            return State::Owned;
        }
        participant.claims(self.tag);
        self.claims.push_back(claim);
        self.go_on();
        // The answer says it.
        participant.events.forget(self.tag);
        if self.is_granted_to(&participant) { State::Granted } else { State::Waiting }
    }

    /// Whether the current claim may be granted, as the owner asks.
    pub(crate) fn may_release(
        &self,
        participant: &Participant,
        to: Option<i32>,
    ) -> Result<(), Refusal> {
        let claim = self.claims.front().filter(|claim| claim.told && self.is_owned_by(participant));
        match (claim, to) {
            (None, _) => Err(Refusal::Unclaimed),
            (Some(claim), Some(number)) if claim.number != number => Err(Refusal::Ended),
            (Some(_), _) => Ok(()),
        }
    }

    /// Grants the current claim, as its owner asks.
    pub(crate) fn release(&mut self) {
        if self.claims.front().is_some_and(|claim| claim.told && !claim.granted) {
            self.grant();
        }
    }

    /// Whether this session may take the tag over, or owns it already.
    pub(crate) fn may_be_ready(&self, participant: &Participant) -> Result<(), Refusal> {
        if self.is_owned_by(participant) || self.is_granted_to(participant) {
            return Ok(());
        }
        Err(self.position_of(participant).map_or(Refusal::Nothing, |_| Refusal::NotGranted))
    }

    /// Makes the claimant the owner; an owner has settled by that.
    pub(crate) fn ready(&mut self, participant: &Rc<Participant>) {
        if self.is_owned_by(participant) {
            return self.settled();
        }
        if !self.is_granted_to(participant) {
            return;
        }
        let Some(claim) = self.claims.pop_front() else { return };
        let from = self.other();
        if let Owner::Session { participant: old, .. } = &self.owner {
            old.set(self.tag, Interest::Overtaken);
            old.tell(self.tag, What::Completed, claim.number, participant.as_other(), None);
        }
        participant.events.forget(self.tag);
        self.is_now_owned_by(participant, claim.settles());
        self.note(&claim, Verdict::Granted, &format!("complete: taken over from {from}"));
        self.go_on();
    }

    /// Whether this session has anything to give up.
    pub(crate) fn may_withdraw(&self, participant: &Participant) -> Result<(), Refusal> {
        let has = self.is_owned_by(participant)
            || self.position_of(participant).is_some()
            || participant.is_overtaken(self.tag);
        if has { Ok(()) } else { Err(Refusal::Nothing) }
    }

    /// Ends what a session has of the tag: its claim, its ownership, or the note that it was
    /// overtaken.
    ///
    /// `may` says who may claim it still: see [`TagOwnership::pass_on`].
    pub(crate) fn leave(
        &mut self,
        participant: &Participant,
        end: End,
        may: impl Fn(&Participant) -> bool,
    ) {
        if self.is_owned_by(participant) {
            participant.forget(self.tag);
            participant.events.forget(self.tag);
            self.pass_on(may);
        } else if let Some(at) = self.position_of(participant) {
            let what = match end {
                End::Withdrawn => "withdrawn",
                End::Left => "its connection has ended",
            };
            participant.events.forget(self.tag);
            self.end_claim(at, What::Left, what);
        } else {
            participant.forget(self.tag);
            participant.events.forget(self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use fdbroker_wire::Tag;
    use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

    use super::super::state::TagOwnership;
    use super::*;
    use crate::process_number;
    use crate::worker::identity::Identity;

    /// A session of this process, as one of a foreign pid namespace has it.
    fn nameless() -> Rc<Participant> {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut identity = Identity::of(&ours, true).unwrap();
        identity.pid = 0;
        Rc::new(Participant::new(1, Rc::new(identity)))
    }

    fn kept_for(process: Pid) -> TagOwnership {
        let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
        let number = process_number::number(&process);
        TagOwnership::kept(Tag::new(1).unwrap(), 0, Rc::new(process), number)
    }

    #[test]
    fn a_process_without_a_pid_here_gets_back_what_was_kept_for_it_and_nothing_else() {
        let own = nameless();
        if own.process_number().is_none() {
            return eprintln!("skipped: this kernel has no pidfs");
        }
        assert!(kept_for(getpid()).may_claim(&own, Mode::Again).is_ok());
        let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(kept_for(Pid::from_child(&other)).may_claim(&own, Mode::Again).is_err());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
