//! One tag: who owns it, who claims it, and whose requests wait for their turn.
//!
//! The owner is the session that touched a serial tag first, or claimed one that nobody owned. One
//! claim at a time is current; the others queue. While the current one is granted, neither the
//! owner nor the claimant may change anything in the tag: so a claimant that ends before it is
//! ready leaves everything as it was.
//!
//! No I/O. Events go to the queues of the participants concerned, and are kept for the audit trail
//! until it takes them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::Tag;
use fdbroker_wire::claim::{Mode, State, What};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::claim::{Claim, End, Happened, Refusal};
use super::events::Other;
use super::participant::{Interest, Participant};
use crate::log::Verdict;

/// Who owns a tag, who claims it, and who waits for it.
pub(crate) struct TagOwnership {
    tag: Tag,
    owner: Owner,
    /// The first is the current one.
    claims: VecDeque<Claim>,
    waiting: VecDeque<Waiter>,
    /// What has not been recorded.
    happened: Vec<Happened>,
}

enum Owner {
    Nobody,
    Session {
        participant: Rc<Participant>,
        /// It has said CLAIM: so it can be told of others that do.
        aware: bool,
        /// It has not said READY since. Until it does, or until this time, no other claim is
        /// granted.
        settles: Option<Instant>,
    },
    /// It owned the tag when the last worker died, and lives.
    Process {
        pid: i32,
        process: Rc<OwnedFd>,
        number: Option<u64>,
    },
}

/// A request that waits, and how it is told to go on: with `true` if its session owns the tag by
/// that.
struct Waiter {
    participant: Rc<Participant>,
    turn: oneshot::Sender<bool>,
}

/// What a session's request for a tag comes to: its turn has come, or it waits.
pub(crate) enum Acquisition {
    Mine { newly: bool },
    Wait(oneshot::Receiver<bool>),
}

/// What keeps a session from something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OwnershipRefusal {
    /// A claim has been granted: nothing changes until it has ended.
    Granted,
    /// Another session has taken the tag over from it.
    Overtaken,
}

/// What tells one owner from another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnerId {
    Nobody,
    Session(u64),
    Process,
}

/// Stands for the user id if the broker knows the process alone.
const UID_UNTOLD: u32 = u32::MAX;

impl TagOwnership {
    /// A tag that nobody owns.
    pub(crate) fn free(tag: Tag) -> Self {
        let (claims, waiting) = (VecDeque::new(), VecDeque::new());
        Self { tag, owner: Owner::Nobody, claims, waiting, happened: Vec::new() }
    }

    /// A tag that a process owned when the last worker died; with what tells it from others, if it has
    /// no pid here.
    pub(crate) fn kept(tag: Tag, pid: i32, process: Rc<OwnedFd>, number: Option<u64>) -> Self {
        Self { owner: Owner::Process { pid, process, number }, ..Self::free(tag) }
    }

    pub(crate) fn owner_id(&self) -> OwnerId {
        match &self.owner {
            Owner::Nobody => OwnerId::Nobody,
            Owner::Session { participant, .. } => OwnerId::Session(participant.id),
            Owner::Process { .. } => OwnerId::Process,
        }
    }

    /// The process that owns it, for the supervisor.
    pub(crate) fn process(&self) -> Option<(i32, Rc<OwnedFd>)> {
        match &self.owner {
            Owner::Nobody => None,
            Owner::Session { participant, .. } => {
                Some((participant.pid(), Rc::clone(participant.identity.process.as_ref()?)))
            }
            Owner::Process { pid, process, .. } => Some((*pid, Rc::clone(process))),
        }
    }

    /// When the next time is up: the current claim's, by its number, or the owner's to settle, by 0.
    pub(crate) fn due(&self) -> Option<(Instant, i32)> {
        let claim = self.claims.front().and_then(|claim| Some((claim.due?, claim.number)));
        let settles = self.settles().map(|due| (due, 0));
        claim.into_iter().chain(settles).min()
    }

    fn settles(&self) -> Option<Instant> {
        match &self.owner {
            Owner::Session { settles, .. } => *settles,
            Owner::Nobody | Owner::Process { .. } => None,
        }
    }

    /// Returns until when an owner settles that claims its own tag now and asks for `due`. If it has
    /// claimed the tag before, that is no later than it said then.
    fn settles_until(&self, due: Instant) -> Option<Instant> {
        match &self.owner {
            Owner::Session { aware: true, settles, .. } => settles.map(|before| before.min(due)),
            _ => Some(due),
        }
    }

    pub(crate) fn take_happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }

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

    /// Whether a granted claim keeps this session from changing anything.
    pub(crate) fn is_fenced_for(&self, participant: &Participant) -> bool {
        self.claims.front().is_some_and(|claim| claim.granted)
            && (self.is_owned_by(participant) || self.is_granted_to(participant))
    }

    /// Checks whether the ownership of the tag allows a session's request. `changes`: it changes a slot.
    /// `serial`: the tag is serial.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn check_ownership(
        &self,
        participant: &Participant,
        changes: bool,
        serial: bool,
    ) -> Result<(), OwnershipRefusal> {
        if changes && self.is_fenced_for(participant) {
            return Err(OwnershipRefusal::Granted);
        }
        let asks_in_vain = changes || serial && !self.is_granted_to(participant);
        if participant.is_overtaken(self.tag) && asks_in_vain {
            return Err(OwnershipRefusal::Overtaken);
        }
        Ok(())
    }

    /// Whether a request of this session goes on without a wait.
    pub(crate) fn has_turn(&self, participant: &Participant) -> bool {
        self.is_owned_by(participant) || self.is_granted_to(participant)
    }

    pub(crate) fn is_owned_by(&self, participant: &Participant) -> bool {
        matches!(&self.owner, Owner::Session { participant: owner, .. } if owner.id == participant.id)
    }

    pub(crate) fn is_granted_to(&self, participant: &Participant) -> bool {
        self.claims
            .front()
            .is_some_and(|claim| claim.granted && claim.participant.id == participant.id)
    }

    /// Whether nobody owns it, or an earlier connection of this session's process owned it.
    fn is_to_be_had_by(&self, participant: &Participant) -> bool {
        match &self.owner {
            Owner::Nobody => true,
            // Of those that have no pid here, it is the one that has the same number.
            Owner::Process { pid: 0, number, .. } => {
                participant.pid() == 0
                    && number.is_some()
                    && *number == participant.process_number()
            }
            Owner::Process { pid, .. } => *pid == participant.pid(),
            Owner::Session { .. } => false,
        }
    }

    fn position_of(&self, participant: &Participant) -> Option<usize> {
        self.claims.iter().position(|claim| claim.participant.id == participant.id)
    }
}

/// What sessions ask.
impl TagOwnership {
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

    fn settled(&mut self) {
        if let Owner::Session { settles, .. } = &mut self.owner {
            *settles = None;
        }
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

/// What happens by itself.
impl TagOwnership {
    /// Passes the tag on, if it is kept for a process. That process has ended.
    pub(crate) fn process_ended(&mut self, may: impl Fn(&Participant) -> bool) {
        if matches!(self.owner, Owner::Process { .. }) {
            self.pass_on(may);
        }
    }

    /// Ends the current claim, or the owner's time to settle, if that is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        let Some((due, number)) = self.due() else { return };
        if due > now {
            return;
        }
        if number == 0 {
            return self.settled();
        }
        let other = self.as_other();
        if let Some(claim) = self.claims.front() {
            claim.participant.tell(self.tag, What::Expired, number, other, None);
        }
        self.end_claim(0, What::TimedOut, "it was not ready in time");
    }

    fn end_claim(&mut self, at: usize, told: What, what: &str) {
        let Some(claim) = self.claims.remove(at) else { return };
        claim.participant.claims_no_more(self.tag);
        if let Owner::Session { participant: owner, .. } = &self.owner
            && claim.told
        {
            owner.tell(self.tag, told, claim.number, claim.participant.as_other(), None);
        }
        let stays = format!("{what}; {} stays the owner", self.other());
        self.note(&claim, Verdict::Failed, &stays);
        self.go_on();
    }

    /// Makes the first claimant for whom `may` holds the owner; if there is none, the session whose
    /// request waits longest.
    fn pass_on(&mut self, may: impl Fn(&Participant) -> bool) {
        let from = (self.other(), self.as_other());
        self.owner = Owner::Nobody;
        while let Some(claim) = self.claims.pop_front() {
            if !may(&claim.participant) {
                self.refuse(&claim, from.1);
                continue;
            }
            let participant = Rc::clone(&claim.participant);
            participant.tell(self.tag, What::Owned, claim.number, from.1, None);
            self.is_now_owned_by(&participant, claim.settles());
            self.note(&claim, Verdict::Granted, &format!("{} has given it up", from.0));
            return self.go_on();
        }
        while let Some(Waiter { participant, turn }) = self.waiting.pop_front() {
            if turn.send(true).is_ok() {
                self.owner = Owner::Session { participant, aware: false, settles: None };
                return;
            }
        }
    }

    /// Ends a claim that the policy does not allow any more.
    fn refuse(&mut self, claim: &Claim, from: Other) {
        claim.participant.claims_no_more(self.tag);
        claim.participant.tell(self.tag, What::Expired, claim.number, from, None);
        self.note(claim, Verdict::Refused, "the policy does not allow it any more");
    }

    fn is_now_owned_by(&mut self, participant: &Rc<Participant>, settles: Option<Instant>) {
        participant.set(self.tag, Interest::Owns);
        self.owner = Owner::Session { participant: Rc::clone(participant), aware: true, settles };
        self.wake(participant);
    }

    /// Makes the first claim the current one, and tells the owner, if that has not been done, and
    /// the owner has settled.
    fn go_on(&mut self) {
        if self.settles().is_some() {
            return;
        }
        let owner = self.other();
        let Some(claim) = self.claims.front_mut() else { return };
        let begins = claim.due.is_none();
        claim.due.get_or_insert_with(|| Instant::now() + claim.time);
        let Owner::Session { participant: owner_session, aware: true, .. } = &self.owner else {
            return self.note_begin(begins, &owner);
        };
        let (tells, granted) = (!claim.told, claim.granted);
        claim.told = true;
        let (live, what) = match claim.mode {
            Mode::Live => (true, What::ClaimedLive),
            _ => (false, What::ClaimedQuiesced),
        };
        if tells {
            let claimant = claim.participant.as_other();
            owner_session.tell(self.tag, what, claim.number, claimant, claim.due);
        }
        self.note_begin(begins, &owner);
        if tells && live && !granted {
            self.grant();
        }
    }

    fn note_begin(&mut self, begins: bool, owner: &str) {
        let Some(claim) = self.claims.front().filter(|_| begins) else { return };
        let mode = if claim.mode == Mode::Live { "live" } else { "quiesced" };
        let time = claim.time.as_millis();
        let what = format!("its turn has come, {mode}, for {time} ms; {owner} is the owner");
        let happened = Happened::to(claim, Verdict::Granted, &what);
        self.happened.push(happened);
    }

    fn grant(&mut self) {
        let (owner, other) = (self.other(), self.as_other());
        let Some(claim) = self.claims.front_mut() else { return };
        claim.granted = true;
        let participant = Rc::clone(&claim.participant);
        participant.tell(self.tag, What::Granted, claim.number, other, claim.due);
        let what = format!("granted: what {owner} left may be taken over");
        let happened = Happened::to(claim, Verdict::Granted, &what);
        self.happened.push(happened);
        self.wake(&participant);
    }

    /// Lets a request of this session go on that waits for its turn.
    fn wake(&mut self, participant: &Participant) {
        let Some(at) =
            self.waiting.iter().position(|waiter| waiter.participant.id == participant.id)
        else {
            return;
        };
        if let Some(Waiter { turn, .. }) = self.waiting.remove(at) {
            // The session may have left: then nobody receives this.
            let _ = turn.send(false);
        }
    }

    fn note(&mut self, claim: &Claim, verdict: Verdict, what: &str) {
        self.happened.push(Happened::to(claim, verdict, what));
    }

    fn as_other(&self) -> Other {
        match &self.owner {
            Owner::Nobody => Other { pid: 0, uid: UID_UNTOLD },
            Owner::Session { participant, .. } => participant.as_other(),
            Owner::Process { pid, .. } => Other { pid: *pid, uid: UID_UNTOLD },
        }
    }

    /// The owner, for the audit trail.
    fn other(&self) -> String {
        match &self.owner {
            Owner::Nobody => "nobody".to_owned(),
            Owner::Session { participant, .. } => {
                format!("pid {} uid {}", participant.pid(), participant.identity.uid)
            }
            Owner::Process { pid, .. } => format!("pid {pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

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
