//! One tag: who owns it, who claims it, and whose requests wait for their turn.
//!
//! The owner is the session that touched a serial tag first, or claimed one that nobody owned. One
//! claim at a time is current; the others queue. While the current one is granted, neither the
//! owner nor the claimant may change anything in the tag: so a claimant that ends before it is
//! ready leaves everything as it was.
//!
//! No I/O. What happens is told to the mailboxes of those whom it concerns, and kept for the audit
//! trail until it is taken out.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::Tag;
use fdbroker_wire::claim::{Mode, State, What};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::claim::{Claim, End, Happened, Refusal};
use super::events::Other;
use super::participant::{Holder, Stake};
use crate::log::Verdict;

/// A tag that has an owner.
pub(crate) struct Gate {
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
        holder: Rc<Holder>,
        /// It has said CLAIM: so it can be told of others that do.
        aware: bool,
        /// It has not said READY since, and until then, or that, nobody's turn to claim the tag
        /// comes.
        settles: Option<Instant>,
    },
    /// It owned the tag when the last worker died, and lives.
    Process {
        pid: i32,
        process: Rc<OwnedFd>,
        number: Option<u64>,
    },
}

/// Whose request waits, and how it is told that it may go on; with true if the tag is its own by that.
struct Waiter {
    holder: Rc<Holder>,
    turn: oneshot::Sender<bool>,
}

/// Whether the turn has come.
pub(crate) enum Turn {
    Mine { newly: bool },
    Wait(oneshot::Receiver<bool>),
}

/// What keeps a session from something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fence {
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

/// The user id of whom the broker knows the process alone.
const UID_UNTOLD: u32 = u32::MAX;

impl Gate {
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
            Owner::Session { holder, .. } => OwnerId::Session(holder.id),
            Owner::Process { .. } => OwnerId::Process,
        }
    }

    /// The process that owns it, for the supervisor.
    pub(crate) fn process(&self) -> Option<(i32, Rc<OwnedFd>)> {
        match &self.owner {
            Owner::Nobody => None,
            Owner::Session { holder, .. } => {
                Some((holder.pid(), Rc::clone(holder.identity.process.as_ref()?)))
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

    /// Until when whoever claims it now as its owner settles, who asks for it until `due`: one that has
    /// claimed it before settles no longer than it said then.
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
    pub(crate) fn turn(&mut self, holder: &Rc<Holder>) -> Turn {
        if self.is_owned_by(holder) || self.is_granted_to(holder) {
            return Turn::Mine { newly: false };
        }
        if self.is_to_be_had_by(holder) {
            self.owner = Owner::Session { holder: Rc::clone(holder), aware: false, settles: None };
            return Turn::Mine { newly: true };
        }
        let (turn, wait) = oneshot::channel();
        self.waiting.push_back(Waiter { holder: Rc::clone(holder), turn });
        Turn::Wait(wait)
    }

    /// Forgets that a request of this session waits, and with that the session's process.
    pub(crate) fn waits_no_more(&mut self, holder: &Holder) {
        self.waiting.retain(|waiter| waiter.holder.id != holder.id);
    }

    /// Whether a granted claim keeps this session from changing anything.
    pub(crate) fn is_fenced_for(&self, holder: &Holder) -> bool {
        self.claims.front().is_some_and(|claim| claim.granted)
            && (self.is_owned_by(holder) || self.is_granted_to(holder))
    }

    /// Whether this session's request must not be done, which `changes` something or is of a `serial` tag.
    ///
    /// # Errors
    /// What keeps it from that.
    pub(crate) fn fence(&self, holder: &Holder, changes: bool, serial: bool) -> Result<(), Fence> {
        if changes && self.is_fenced_for(holder) {
            return Err(Fence::Granted);
        }
        let asks_in_vain = changes || serial && !self.is_granted_to(holder);
        if holder.is_overtaken(self.tag) && asks_in_vain {
            return Err(Fence::Overtaken);
        }
        Ok(())
    }

    pub(crate) fn is_owned_by(&self, holder: &Holder) -> bool {
        matches!(&self.owner, Owner::Session { holder: owner, .. } if owner.id == holder.id)
    }

    pub(crate) fn is_granted_to(&self, holder: &Holder) -> bool {
        self.claims.front().is_some_and(|claim| claim.granted && claim.holder.id == holder.id)
    }

    /// Whether nobody owns it, or this session's process on a connection that has ended.
    fn is_to_be_had_by(&self, holder: &Holder) -> bool {
        match &self.owner {
            Owner::Nobody => true,
            // Of those that have no pid here, it is the one that has the same number.
            Owner::Process { pid: 0, number, .. } => {
                holder.pid() == 0 && number.is_some() && *number == holder.process_number()
            }
            Owner::Process { pid, .. } => *pid == holder.pid(),
            Owner::Session { .. } => false,
        }
    }

    fn position_of(&self, holder: &Holder) -> Option<usize> {
        self.claims.iter().position(|claim| claim.holder.id == holder.id)
    }
}

/// What sessions ask.
impl Gate {
    /// Whether this session may claim it.
    pub(crate) fn may_claim(&self, holder: &Holder, mode: Mode) -> Result<(), Refusal> {
        if self.position_of(holder).is_some() {
            return Err(Refusal::Twice);
        }
        let to_be_had = self.is_owned_by(holder) || self.is_to_be_had_by(holder);
        if mode == Mode::Again && !to_be_had {
            return Err(Refusal::Owned);
        }
        if holder.has_room_for(self.tag) { Ok(()) } else { Err(Refusal::TooMany) }
    }

    /// Takes up a claim that may be made; gives how far it is.
    pub(crate) fn claim(&mut self, claim: Claim) -> State {
        let holder = Rc::clone(&claim.holder);
        holder.mailbox.forget(self.tag);
        if self.is_owned_by(&holder) || self.is_to_be_had_by(&holder) {
            let settles = claim.settles().and_then(|due| self.settles_until(due));
            self.is_now_owned_by(&holder, settles);
            // What it has been told before may be forgotten by now.
            self.claims.front_mut().into_iter().for_each(|claim| claim.told = false);
            self.go_on();
            return State::Owned;
        }
        holder.claims(self.tag);
        self.claims.push_back(claim);
        self.go_on();
        // The answer says it.
        holder.mailbox.forget(self.tag);
        if self.is_granted_to(&holder) { State::Granted } else { State::Waiting }
    }

    /// Whether the current claim may be granted, as the owner asks.
    pub(crate) fn may_release(&self, holder: &Holder, to: Option<i32>) -> Result<(), Refusal> {
        let claim = self.claims.front().filter(|claim| claim.told && self.is_owned_by(holder));
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
    pub(crate) fn may_be_ready(&self, holder: &Holder) -> Result<(), Refusal> {
        if self.is_owned_by(holder) || self.is_granted_to(holder) {
            return Ok(());
        }
        Err(self.position_of(holder).map_or(Refusal::Nothing, |_| Refusal::NotGranted))
    }

    /// Makes the claimant the owner; an owner has settled by that.
    pub(crate) fn ready(&mut self, holder: &Rc<Holder>) {
        if self.is_owned_by(holder) {
            return self.settled();
        }
        if !self.is_granted_to(holder) {
            return;
        }
        let Some(claim) = self.claims.pop_front() else { return };
        let from = self.other();
        if let Owner::Session { holder: old, .. } = &self.owner {
            old.set(self.tag, Stake::Overtaken);
            old.tell(self.tag, What::Completed, claim.number, holder.as_other(), None);
        }
        holder.mailbox.forget(self.tag);
        self.is_now_owned_by(holder, claim.settles());
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
    pub(crate) fn may_withdraw(&self, holder: &Holder) -> Result<(), Refusal> {
        let has = self.is_owned_by(holder)
            || self.position_of(holder).is_some()
            || holder.is_overtaken(self.tag);
        if has { Ok(()) } else { Err(Refusal::Nothing) }
    }

    /// Gives up what a session has of the tag: its claim, the tag itself, or that it had it once.
    ///
    /// `may` says who may claim it still: see [`Gate::pass_on`].
    pub(crate) fn leave(&mut self, holder: &Holder, end: End, may: impl Fn(&Holder) -> bool) {
        if self.is_owned_by(holder) {
            holder.forget(self.tag);
            holder.mailbox.forget(self.tag);
            self.pass_on(may);
        } else if let Some(at) = self.position_of(holder) {
            let what = match end {
                End::Withdrawn => "withdrawn",
                End::Left => "its connection has ended",
            };
            holder.mailbox.forget(self.tag);
            self.end_claim(at, What::Left, what);
        } else {
            holder.forget(self.tag);
            holder.mailbox.forget(self.tag);
        }
    }
}

/// What happens by itself.
impl Gate {
    /// Gives the tag to whoever is next, if it is kept for a process, which has ended.
    pub(crate) fn process_ended(&mut self, may: impl Fn(&Holder) -> bool) {
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
            claim.holder.tell(self.tag, What::Expired, number, other, None);
        }
        self.end_claim(0, What::TimedOut, "it was not ready in time");
    }

    fn end_claim(&mut self, at: usize, told: What, what: &str) {
        let Some(claim) = self.claims.remove(at) else { return };
        claim.holder.claims_no_more(self.tag);
        if let Owner::Session { holder: owner, .. } = &self.owner
            && claim.told
        {
            owner.tell(self.tag, told, claim.number, claim.holder.as_other(), None);
        }
        let stays = format!("{what}; {} stays the owner", self.other());
        self.note(&claim, Verdict::Failed, &stays);
        self.go_on();
    }

    /// Gives the tag to the first who claims it and `may`, else to the first whose request still waits.
    fn pass_on(&mut self, may: impl Fn(&Holder) -> bool) {
        let from = (self.other(), self.as_other());
        self.owner = Owner::Nobody;
        while let Some(claim) = self.claims.pop_front() {
            if !may(&claim.holder) {
                self.refuse(&claim, from.1);
                continue;
            }
            let holder = Rc::clone(&claim.holder);
            holder.tell(self.tag, What::Owned, claim.number, from.1, None);
            self.is_now_owned_by(&holder, claim.settles());
            self.note(&claim, Verdict::Granted, &format!("{} has given it up", from.0));
            return self.go_on();
        }
        while let Some(Waiter { holder, turn }) = self.waiting.pop_front() {
            if turn.send(true).is_ok() {
                self.owner = Owner::Session { holder, aware: false, settles: None };
                return;
            }
        }
    }

    /// Ends a claim that the policy does not allow any more.
    fn refuse(&mut self, claim: &Claim, from: Other) {
        claim.holder.claims_no_more(self.tag);
        claim.holder.tell(self.tag, What::Expired, claim.number, from, None);
        self.note(claim, Verdict::Refused, "the policy does not allow it any more");
    }

    fn is_now_owned_by(&mut self, holder: &Rc<Holder>, settles: Option<Instant>) {
        holder.set(self.tag, Stake::Owns);
        self.owner = Owner::Session { holder: Rc::clone(holder), aware: true, settles };
        self.wake(holder);
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
        let Owner::Session { holder: owner_session, aware: true, .. } = &self.owner else {
            return self.note_begin(begins, &owner);
        };
        let (tells, granted) = (!claim.told, claim.granted);
        claim.told = true;
        let (live, what) = match claim.mode {
            Mode::Live => (true, What::ClaimedLive),
            _ => (false, What::ClaimedQuiesced),
        };
        if tells {
            let claimant = claim.holder.as_other();
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
        let holder = Rc::clone(&claim.holder);
        holder.tell(self.tag, What::Granted, claim.number, other, claim.due);
        let what = format!("granted: what {owner} left may be taken over");
        let happened = Happened::to(claim, Verdict::Granted, &what);
        self.happened.push(happened);
        self.wake(&holder);
    }

    /// Lets a request of this session go on that waits for its turn.
    fn wake(&mut self, holder: &Holder) {
        let Some(at) = self.waiting.iter().position(|waiter| waiter.holder.id == holder.id) else {
            return;
        };
        if let Some(Waiter { turn, .. }) = self.waiting.remove(at) {
            // Who does not wait any more has left.
            let _ = turn.send(false);
        }
    }

    fn note(&mut self, claim: &Claim, verdict: Verdict, what: &str) {
        self.happened.push(Happened::to(claim, verdict, what));
    }

    fn as_other(&self) -> Other {
        match &self.owner {
            Owner::Nobody => Other { pid: 0, uid: UID_UNTOLD },
            Owner::Session { holder, .. } => holder.as_other(),
            Owner::Process { pid, .. } => Other { pid: *pid, uid: UID_UNTOLD },
        }
    }

    /// The owner, for the audit trail.
    fn other(&self) -> String {
        match &self.owner {
            Owner::Nobody => "nobody".to_owned(),
            Owner::Session { holder, .. } => {
                format!("pid {} uid {}", holder.pid(), holder.identity.uid)
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
    fn nameless() -> Rc<Holder> {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut identity = Identity::of(&ours, true).unwrap();
        identity.pid = 0;
        Rc::new(Holder::new(1, Rc::new(identity)))
    }

    fn kept_for(process: Pid) -> Gate {
        let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
        let number = process_number::number(&process);
        Gate::kept(Tag::new(1).unwrap(), 0, Rc::new(process), number)
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
