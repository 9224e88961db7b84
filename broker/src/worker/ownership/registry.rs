//! Who owns which tag. Of a serial tag the first session that touches it is the owner until it
//! disconnects, and the next one's request waits; of any tag, who claimed it, see [`crate::worker::request::handover`].
//! What follows of a change is in [`crate::worker::owner_changes`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::Tag;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::claim::Happened;
use super::participant::Participant;
use super::tag::{Acquisition, OwnerId, OwnershipRefusal, TagOwnership};
use crate::worker::identity::Identity;

/// The tags that have an owner.
#[derive(Default)]
pub(crate) struct OwnershipRegistry {
    by_tag: RefCell<HashMap<Tag, TagOwnership>>,
    next: Cell<u64>,
    next_claim: Cell<i32>,
    /// When the time of each current claim is up: the claim's number, and its tag.
    clocks: RefCell<BTreeSet<(Instant, i32, Tag)>>,
    timer_changed: Notify,
}

/// Which sessions own a tag, or wait for it, by their numbers.
pub(crate) struct Standing {
    pub(crate) tag: Tag,
    /// `None` if it is kept for a process that has not come back.
    pub(crate) owner: Option<u64>,
    pub(crate) waiting: Vec<u64>,
}

impl OwnershipRegistry {
    /// What each tag that has an owner is to the sessions.
    pub(crate) fn standings(&self) -> Vec<Standing> {
        let by_tag = self.by_tag.borrow();
        let standing = |(tag, ownership): (&Tag, &TagOwnership)| {
            let owner = match ownership.owner_id() {
                OwnerId::Session(number) => Some(number),
                OwnerId::Nobody | OwnerId::Process => None,
            };
            Standing { tag: *tag, owner, waiting: ownership.waiting() }
        };
        by_tag.iter().map(standing).collect()
    }

    /// A new session.
    pub(crate) fn participant(&self, identity: &Rc<Identity>) -> Rc<Participant> {
        let id = self.next.replace(self.next.get() + 1);
        Rc::new(Participant::new(id, Rc::clone(identity)))
    }

    /// The number of a new claim, above 0.
    pub(crate) fn number(&self) -> i32 {
        let number = self.next_claim.get().checked_add(1).unwrap_or(1);
        self.next_claim.set(number);
        number
    }

    /// Checks whether the ownership of the tag allows a session's request. `changes`: it changes a slot.
    /// `serial`: the tag is serial.
    ///
    /// # Errors
    /// If another process has taken the tag over, or is about to. Never if nobody has claimed it.
    pub(crate) fn check_ownership(
        &self,
        participant: &Participant,
        tag: Tag,
        changes: bool,
        serial: bool,
    ) -> Result<(), OwnershipRefusal> {
        if participant.interest(tag).is_none() {
            return Ok(());
        }
        self.with(tag, |ownership| ownership.check_ownership(participant, changes, serial))
    }

    /// Looks at a tag; one without owner is looked at as such.
    pub(crate) fn with<T>(&self, tag: Tag, look: impl FnOnce(&TagOwnership) -> T) -> T {
        match self.by_tag.borrow().get(&tag) {
            Some(ownership) => look(ownership),
            None => look(&TagOwnership::free(tag)),
        }
    }

    /// Changes the ownership of a tag. Returns also what happened by that, and whether the tag has
    /// another owner.
    pub(crate) fn with_mut<T>(
        &self,
        tag: Tag,
        change: impl FnOnce(&mut TagOwnership) -> T,
    ) -> (T, Vec<Happened>, bool) {
        let mut by_tag = self.by_tag.borrow_mut();
        let ownership = by_tag.entry(tag).or_insert_with(|| TagOwnership::free(tag));
        let (due, owner) = (ownership.due(), ownership.owner_id());
        let result = change(ownership);
        let happened = ownership.take_happened();
        self.change_timer(tag, due, ownership.due());
        let passed = owner != ownership.owner_id();
        if ownership.owner_id() == OwnerId::Nobody {
            by_tag.remove(&tag);
        }
        (result, happened, passed)
    }

    /// Keeps a tag for a process that owned it before this worker was started.
    pub(crate) fn keep_for(&self, tag: Tag, pid: i32, process: Rc<OwnedFd>, number: Option<u64>) {
        self.by_tag.borrow_mut().insert(tag, TagOwnership::kept(tag, pid, process, number));
    }

    /// Notified when another claim may have become the next one that times out.
    pub(crate) fn timer_changed(&self) -> Notified<'_> {
        self.timer_changed.notified()
    }

    /// Waits until `tag` is this session's, or may be taken over by it. Returns whether that is
    /// news for [`crate::worker::owner_changes::note`].
    ///
    /// Can be dropped. Then the session leaves the queue; a tag that it has won is given up by
    /// [`crate::worker::owner_changes::leave`].
    pub(crate) async fn wait(&self, tag: Tag, participant: &Rc<Participant>) -> bool {
        loop {
            let (turn, ..) = self.with_mut(tag, |ownership| ownership.turn(participant));
            let turn = match turn {
                Acquisition::Mine { newly } => return newly,
                Acquisition::Wait(turn) => turn,
            };
            let _queued = Queued { registry: self, tag, participant };
            // After another wake-up, state is checked again: it may have changed in between.
            if let Ok(true) = turn.await {
                return true;
            }
        }
    }

    fn change_timer(
        &self,
        tag: Tag,
        before: Option<(Instant, i32)>,
        after: Option<(Instant, i32)>,
    ) {
        if before == after {
            return;
        }
        let mut clocks = self.clocks.borrow_mut();
        before.map(|(due, number)| clocks.remove(&(due, number, tag)));
        after.map(|(due, number)| clocks.insert((due, number, tag)));
        self.timer_changed.notify_one();
    }

    /// The next claim whose time is up, and when that is.
    pub(crate) fn next_due(&self) -> Option<(Instant, Tag)> {
        self.clocks.borrow().first().map(|(due, _, tag)| (*due, *tag))
    }
}

/// A place in the queue for a tag. A session that ends, at whatever point, leaves the queue too: a
/// place that stayed would keep its process open for as long as the tag has its owner.
struct Queued<'a> {
    registry: &'a OwnershipRegistry,
    tag: Tag,
    participant: &'a Participant,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.registry.with_mut(self.tag, |ownership| ownership.waits_no_more(self.participant));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::pin::pin;

    use super::super::claim::End;
    use super::*;

    fn session(registry: &OwnershipRegistry) -> Rc<Participant> {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        registry.participant(&Rc::new(Identity::of(&ours, true).unwrap()))
    }

    #[tokio::test]
    async fn whoever_leaves_while_it_waits_is_forgotten_at_once() {
        let (registry, tag) = (OwnershipRegistry::default(), Tag::new(1).unwrap());
        let (owner, leaves) = (session(&registry), session(&registry));
        assert!(registry.wait(tag, &owner).await);
        {
            let mut wait = pin!(registry.wait(tag, &leaves));
            assert!(still_waits(&mut wait).await, "the tag has an owner");
        }
        assert_eq!(Rc::strong_count(&leaves), 1, "nothing else keeps its process");
    }

    #[tokio::test]
    async fn whoever_stays_keeps_its_place_when_another_leaves() {
        let (registry, tag) = (OwnershipRegistry::default(), Tag::new(1).unwrap());
        let (owner, leaves, stays) = (session(&registry), session(&registry), session(&registry));
        assert!(registry.wait(tag, &owner).await);
        let mut stay = pin!(registry.wait(tag, &stays));
        assert!(still_waits(&mut stay).await);
        {
            let mut leave = pin!(registry.wait(tag, &leaves));
            assert!(still_waits(&mut leave).await);
        }
        registry.with_mut(tag, |ownership| ownership.leave(&owner, End::Left, |_| true));
        assert!(stay.await, "its turn has come");
        assert!(registry.with(tag, |ownership| ownership.is_owned_by(&stays)));
    }

    /// Polls once; returns whether it still waits.
    async fn still_waits(wait: &mut std::pin::Pin<&mut impl Future<Output = bool>>) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(wait.as_mut().poll(context).is_pending())
        })
        .await
    }
}
