//! What happens to a tag by itself, or follows from what a session asks.

use std::rc::Rc;

use fdbroker_wire::claim::{Mode, What};
use tokio::time::Instant;

use super::state::{Owner, TagOwnership, Waiter};
use crate::log::Verdict;
use crate::worker::ownership::claim::{Claim, Happened};
use crate::worker::ownership::events::Other;
use crate::worker::ownership::participant::{Interest, Participant};

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

    pub(super) fn settled(&mut self) {
        if let Owner::Session { settles, .. } = &mut self.owner {
            *settles = None;
        }
        self.go_on();
    }

    pub(super) fn end_claim(&mut self, at: usize, told: What, what: &str) {
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
    pub(super) fn pass_on(&mut self, may: impl Fn(&Participant) -> bool) {
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

    pub(super) fn is_now_owned_by(
        &mut self,
        participant: &Rc<Participant>,
        settles: Option<Instant>,
    ) {
        participant.set(self.tag, Interest::Owns);
        self.owner = Owner::Session { participant: Rc::clone(participant), aware: true, settles };
        self.wake_waiter(participant);
    }

    /// Makes the first claim the current one, and tells the owner, if that has not been done, and
    /// the owner has settled.
    pub(super) fn go_on(&mut self) {
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

    pub(super) fn grant(&mut self) {
        let (owner, other) = (self.other(), self.as_other());
        let Some(claim) = self.claims.front_mut() else { return };
        claim.granted = true;
        let participant = Rc::clone(&claim.participant);
        participant.tell(self.tag, What::Granted, claim.number, other, claim.due);
        let what = format!("granted: what {owner} left may be taken over");
        let happened = Happened::to(claim, Verdict::Granted, &what);
        self.happened.push(happened);
        self.wake_waiter(&participant);
    }

    /// Lets a request of this session go on that waits for its turn.
    fn wake_waiter(&mut self, participant: &Participant) {
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

    pub(super) fn note(&mut self, claim: &Claim, verdict: Verdict, what: &str) {
        self.happened.push(Happened::to(claim, verdict, what));
    }
}
