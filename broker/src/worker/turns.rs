//! Who owns which tag. Of a serial tag the first session that touches it is the owner until it
//! disconnects, and the next one's request waits; of any tag, who claimed it, see [`super::claims`].
//!
//! The supervisor is told which process owns a tag. If this worker dies, the next one keeps the
//! tag for that process until it connects again or ends: a crash of the broker must not hand one
//! instance's sockets to another that was waiting.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::rc::Rc;

use fdbroker_policy::{Right, Target};
use fdbroker_wire::{Control, Errno, Tag};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Worker;
use super::answer::Failure;
use super::claim::{End, Happened};
use super::gate::{Fence, Gate, OwnerId, Turn};
use super::holder::Holder;
use super::identity::Identity;
use super::process_number;
use super::restore::Note;
use super::vault::Pen;
use crate::log::{Kind, Name, Record, Subject};
use crate::numbering::policy_tag;
use crate::sys::watch::Watched;

/// The tags that have an owner.
#[derive(Default)]
pub(super) struct Turns {
    gates: RefCell<HashMap<Tag, Gate>>,
    next: Cell<u64>,
    next_claim: Cell<i32>,
    /// When the time of each current claim is up: the claim's number, and its tag.
    clocks: RefCell<BTreeSet<(Instant, i32, Tag)>>,
    wound: Notify,
}

impl Turns {
    /// A new session.
    pub(super) fn holder(&self, identity: &Rc<Identity>) -> Rc<Holder> {
        let id = self.next.replace(self.next.get() + 1);
        Rc::new(Holder::new(id, Rc::clone(identity)))
    }

    /// The number of a new claim, above 0.
    pub(super) fn number(&self) -> i32 {
        let number = self.next_claim.get().checked_add(1).unwrap_or(1);
        self.next_claim.set(number);
        number
    }

    /// Whether a session's request must not be done, which `changes` something or is of a `serial` tag.
    ///
    /// # Errors
    /// When another process has taken the tag over, or is about to. Never for whoever claimed nothing.
    pub(super) fn fence(
        &self,
        holder: &Holder,
        tag: Tag,
        changes: bool,
        serial: bool,
    ) -> Result<(), Failure> {
        if holder.stake(tag).is_none() {
            return Ok(());
        }
        self.look(tag, |gate| gate.fence(holder, changes, serial)).map_err(|fence| match fence {
            Fence::Granted => busy(),
            Fence::Overtaken => Failure::in_vain(Errno::STALE, OVERTAKEN),
        })
    }

    /// Looks at a tag; one without owner is looked at as such.
    pub(super) fn look<T>(&self, tag: Tag, look: impl FnOnce(&Gate) -> T) -> T {
        match self.gates.borrow().get(&tag) {
            Some(gate) => look(gate),
            None => look(&Gate::free(tag)),
        }
    }

    /// Changes what is so of a tag; gives also what happened by that, and whether it has another owner.
    fn change<T>(&self, tag: Tag, change: impl FnOnce(&mut Gate) -> T) -> (T, Vec<Happened>, bool) {
        let mut gates = self.gates.borrow_mut();
        let gate = gates.entry(tag).or_insert_with(|| Gate::free(tag));
        let (due, owner) = (gate.due(), gate.owner_id());
        let result = change(gate);
        let happened = gate.take_happened();
        self.wind(tag, due, gate.due());
        let passed = owner != gate.owner_id();
        if gate.owner_id() == OwnerId::Nobody {
            gates.remove(&tag);
        }
        (result, happened, passed)
    }

    /// Waits until `tag` is this session's, or may be taken over by it; gives whether that is news for
    /// [`note`]. Can be dropped: a place in the queue is then lost, and what was won is given up by
    /// [`leave`].
    pub(super) async fn wait(&self, tag: Tag, holder: &Rc<Holder>) -> bool {
        loop {
            let (turn, ..) = self.change(tag, |gate| gate.turn(holder));
            let turn = match turn {
                Turn::Mine { newly } => return newly,
                Turn::Wait(turn) => turn,
            };
            let _queued = Queued { turns: self, tag, holder };
            // What else it is woken for may be over already: then it asks anew, and waits again.
            if let Ok(true) = turn.await {
                return true;
            }
        }
    }

    fn wind(&self, tag: Tag, before: Option<(Instant, i32)>, after: Option<(Instant, i32)>) {
        if before == after {
            return;
        }
        let mut clocks = self.clocks.borrow_mut();
        before.map(|(due, number)| clocks.remove(&(due, number, tag)));
        after.map(|(due, number)| clocks.insert((due, number, tag)));
        self.wound.notify_one();
    }

    fn next_due(&self) -> Option<(Instant, Tag)> {
        self.clocks.borrow().first().map(|(due, _, tag)| (*due, *tag))
    }
}

/// Why nothing changes in a tag that is being taken over.
pub(super) fn busy() -> Failure {
    Failure::in_vain(Errno::BUSY, FENCED)
}

const OVERTAKEN: &str = "another process has taken the tag over";
const FENCED: &str = "the tag is being taken over: nothing changes there until that has ended";

/// Changes what is so of a tag, while nothing else is written to the supervisor: whatever was decided
/// before has been done. Records what happened by that, and tells the supervisor who owns it.
pub(super) async fn alter<T>(
    worker: &Worker,
    pen: &Pen<'_>,
    tag: Tag,
    change: impl FnOnce(&mut Gate) -> T,
) -> T {
    let (result, happened, passed) = worker.turns.change(tag, change);
    record(worker, tag, &happened);
    if passed {
        note_with(worker, pen, tag).await;
    }
    result
}

fn record(worker: &Worker, tag: Tag, happened: &[Happened]) {
    let rules = worker.in_force.now();
    let settings = policy_tag(tag).and_then(|tag| rules.policy.tag(tag));
    let name = settings.map_or(Name::None, |settings| Name::Plain(&settings.name));
    for Happened { who, verdict, what } in happened {
        // It has happened, whoever hears of it.
        let _ = worker.audit.record(&Record {
            kind: Kind::TakeOver,
            right: "claim",
            subject: Subject::Tag(tag),
            name,
            verdict: *verdict,
            reason: what,
            ..who.record()
        });
    }
}

/// A place in the queue for a tag. Whoever leaves, at whatever point, leaves the queue too: what stayed
/// there would keep its process open for as long as the tag has its owner.
struct Queued<'a> {
    turns: &'a Turns,
    tag: Tag,
    holder: &'a Holder,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.turns.change(self.tag, |gate| gate.waits_no_more(self.holder));
    }
}

/// Gives up what a session has of a tag.
pub(super) async fn leave(worker: &Worker, tag: Tag, holder: &Holder, end: End) {
    if worker.turns.look(tag, |gate| gate.may_withdraw(holder).is_ok()) {
        let pen = worker.vault.pen().await;
        let may = |holder: &Holder| may_claim(worker, tag, holder);
        alter(worker, &pen, tag, |gate| gate.leave(holder, end, may)).await;
    }
}

/// Whether the policy still lets a session claim a tag, to which it passes now.
pub(super) fn may_claim(worker: &Worker, tag: Tag, holder: &Holder) -> bool {
    let rules = worker.in_force.now();
    let target = policy_tag(tag).map(Target::Tag);
    let decide = |target| holder.identity.decide(&rules, Right::Claim, target);
    target.is_some_and(|target| decide(target).is_granted())
}

/// Ends claims whose time is up. Never ends.
pub(super) async fn keep_time(worker: &Worker) {
    loop {
        let wound = worker.turns.wound.notified();
        let Some((due, tag)) = worker.turns.next_due() else {
            wound.await;
            continue;
        };
        tokio::select! {
            () = wound => {}
            () = sleep_until(due) => {
                let pen = worker.vault.pen().await;
                alter(worker, &pen, tag, |gate| gate.expire(Instant::now())).await;
            }
        }
    }
}

/// Keeps a tag for the process that owned it before this worker was started.
pub(super) fn restore(worker: &Rc<Worker>, restored: Note) {
    let Note { tag, pid, process } = restored;
    let Some(process) = process_number::pidfd(process) else {
        worker.log().error(&format!("tag {tag}: its owner, pid {pid}, is no process; it is free"));
        return;
    };
    let Ok(watched) = process.try_clone() else {
        worker
            .log()
            .error(&format!("tag {tag}: its owner, pid {pid}, cannot be watched; it is free"));
        return;
    };
    let number = process_number::number(&process);
    worker.turns.gates.borrow_mut().insert(tag, Gate::kept(tag, pid, Rc::new(process), number));
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        // A pidfd is readable when its process has ended, see pidfd_open(2).
        let ended = async { Watched::new(watched)?.readable().await };
        if let Err(error) = ended.await {
            worker
                .log()
                .error(&format!("tag {tag}: its owner, pid {pid}, cannot be watched: {error}"));
        }
        let pen = worker.vault.pen().await;
        let may = |holder: &Holder| may_claim(&worker, tag, holder);
        alter(&worker, &pen, tag, |gate| gate.process_ended(may)).await;
    });
}

/// Tells the supervisor who owns the tag: as it is when its turn to write comes, so that the
/// last word is always the right one. Must not be dropped half done.
pub(super) async fn note(worker: &Worker, tag: Tag) {
    let pen = worker.vault.pen().await;
    note_with(worker, &pen, tag).await;
}

async fn note_with(worker: &Worker, pen: &Pen<'_>, tag: Tag) {
    let owner = worker.turns.look(tag, Gate::process);
    let pid = owner.as_ref().map_or(0, |(pid, _)| *pid);
    let process = owner.as_ref().map(|(_, process)| process.as_fd());
    // It fails when the supervisor has gone; then this worker ends too.
    let _ = pen.control(Control::Note { tag, pid, process }).await;
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::pin::pin;

    use super::*;

    fn session(turns: &Turns) -> Rc<Holder> {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        turns.holder(&Rc::new(Identity::of(&ours, true).unwrap()))
    }

    #[tokio::test]
    async fn whoever_leaves_while_it_waits_is_forgotten_at_once() {
        let (turns, tag) = (Turns::default(), Tag::new(1).unwrap());
        let (owner, leaves) = (session(&turns), session(&turns));
        assert!(turns.wait(tag, &owner).await);
        {
            let mut wait = pin!(turns.wait(tag, &leaves));
            assert!(still_waits(&mut wait).await, "the tag has an owner");
        }
        assert_eq!(Rc::strong_count(&leaves), 1, "nothing else keeps its process");
    }

    #[tokio::test]
    async fn whoever_stays_keeps_its_place_when_another_leaves() {
        let (turns, tag) = (Turns::default(), Tag::new(1).unwrap());
        let (owner, leaves, stays) = (session(&turns), session(&turns), session(&turns));
        assert!(turns.wait(tag, &owner).await);
        let mut stay = pin!(turns.wait(tag, &stays));
        assert!(still_waits(&mut stay).await);
        {
            let mut leave = pin!(turns.wait(tag, &leaves));
            assert!(still_waits(&mut leave).await);
        }
        turns.change(tag, |gate| gate.leave(&owner, End::Left, |_| true));
        assert!(stay.await, "its turn has come");
        assert!(turns.look(tag, |gate| gate.is_owned_by(&stays)));
    }

    /// Polls once; returns whether it still waits.
    async fn still_waits(wait: &mut std::pin::Pin<&mut impl Future<Output = bool>>) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(wait.as_mut().poll(context).is_pending())
        })
        .await
    }
}
