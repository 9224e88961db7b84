//! Who owns a tag, who claims it and whose requests wait; and what that means for a session.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::Tag;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::worker::ownership::claim::{Claim, Happened};
use crate::worker::ownership::events::Other;
use crate::worker::ownership::participant::Participant;

/// Who owns a tag, who claims it, and who waits for it.
pub(crate) struct TagOwnership {
    pub(super) tag: Tag,
    pub(super) owner: Owner,
    /// The first is the current one.
    pub(super) claims: VecDeque<Claim>,
    pub(super) waiting: VecDeque<Waiter>,
    /// What has not been recorded.
    pub(super) happened: Vec<Happened>,
}

pub(super) enum Owner {
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
pub(super) struct Waiter {
    pub(super) participant: Rc<Participant>,
    pub(super) turn: oneshot::Sender<bool>,
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

    /// The sessions that claim it or wait for it, by their numbers.
    pub(crate) fn waiting(&self) -> Vec<u64> {
        let claims = self.claims.iter().map(|claim| claim.participant.id);
        claims.chain(self.waiting.iter().map(|waiter| waiter.participant.id)).collect()
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

    pub(super) fn settles(&self) -> Option<Instant> {
        match &self.owner {
            Owner::Session { settles, .. } => *settles,
            Owner::Nobody | Owner::Process { .. } => None,
        }
    }

    /// Returns until when an owner settles that claims its own tag now and asks for `due`. If it has
    /// claimed the tag before, that is no later than it said then.
    pub(super) fn settles_until(&self, due: Instant) -> Option<Instant> {
        match &self.owner {
            Owner::Session { aware: true, settles, .. } => settles.map(|before| before.min(due)),
            _ => Some(due),
        }
    }

    pub(crate) fn take_happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
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
    pub(super) fn is_to_be_had_by(&self, participant: &Participant) -> bool {
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

    pub(super) fn position_of(&self, participant: &Participant) -> Option<usize> {
        self.claims.iter().position(|claim| claim.participant.id == participant.id)
    }

    pub(super) fn as_other(&self) -> Other {
        match &self.owner {
            Owner::Nobody => Other { pid: 0, uid: UID_UNTOLD },
            Owner::Session { participant, .. } => participant.as_other(),
            Owner::Process { pid, .. } => Other { pid: *pid, uid: UID_UNTOLD },
        }
    }

    /// The owner, for the audit trail.
    pub(super) fn other(&self) -> String {
        match &self.owner {
            Owner::Nobody => "nobody".to_owned(),
            Owner::Session { participant, .. } => {
                format!("pid {} uid {}", participant.pid(), participant.identity.uid)
            }
            Owner::Process { pid, .. } => format!("pid {pid}"),
        }
    }
}
