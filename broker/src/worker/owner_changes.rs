//! What follows when a tag gets another owner, or may get one: it is recorded, and the supervisor is
//! told which process owns the tag. If this worker dies, the next one keeps the tag for that process
//! until it connects again or ends: a crash of the broker must not hand one instance's sockets to
//! another that was waiting.

use std::os::fd::AsFd;
use std::rc::Rc;

use fdbroker_policy::{Right, Target};
use fdbroker_wire::{Control, Tag};
use tokio::time::{Instant, sleep_until};

use super::ownership::claim::{End, Happened};
use super::ownership::participant::Participant;
use super::ownership::tag::TagOwnership;
use super::state::Worker;
use super::supervisor_link::restore::Note;
use super::supervisor_link::write::LinkGuard;
use crate::log::{Kind, Name, Record, Subject};
use crate::process_number;
use crate::sys::watch::Watched;

/// Changes what is so of a tag, while nothing else is written to the supervisor: whatever was decided
/// before has been done. Records what happened by that, and tells the supervisor who owns it.
pub(crate) async fn alter<T>(
    worker: &Worker,
    guard: &LinkGuard<'_>,
    tag: Tag,
    change: impl FnOnce(&mut TagOwnership) -> T,
) -> T {
    let (result, happened, passed) = worker.ownership.with_mut(tag, change);
    record(worker, tag, &happened);
    if passed {
        note_with(worker, guard, tag).await;
    }
    result
}

fn record(worker: &Worker, tag: Tag, happened: &[Happened]) {
    let rules = worker.policy.now();
    let settings = rules.policy.tag(tag);
    let name = settings.map_or(Name::None, |settings| Name::Plain(&settings.name));
    for Happened { who, verdict, what } in happened {
        // It has happened, even if the record cannot be written.
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

/// Ends what a session has of a tag.
pub(crate) async fn leave(worker: &Worker, tag: Tag, participant: &Participant, end: End) {
    if worker.ownership.with(tag, |ownership| ownership.may_withdraw(participant).is_ok()) {
        let guard = worker.link.lock().await;
        let may = |participant: &Participant| may_claim(worker, tag, participant);
        alter(worker, &guard, tag, |ownership| ownership.leave(participant, end, may)).await;
    }
}

/// Whether the policy still lets a session claim a tag, to which it passes now.
pub(crate) fn may_claim(worker: &Worker, tag: Tag, participant: &Participant) -> bool {
    let rules = worker.policy.now();
    participant.identity.decide(&rules, Right::Claim, Target::Tag(tag)).is_granted()
}

/// Ends claims whose time is up. Never ends.
pub(crate) async fn run_timers(worker: &Worker) {
    loop {
        let timer_changed = worker.ownership.timer_changed();
        let Some((due, tag)) = worker.ownership.next_due() else {
            timer_changed.await;
            continue;
        };
        tokio::select! {
            () = timer_changed => {}
            () = sleep_until(due) => {
                let guard = worker.link.lock().await;
                alter(worker, &guard, tag, |ownership| ownership.expire(Instant::now())).await;
            }
        }
    }
}

/// Keeps a tag for the process that owned it before this worker was started.
pub(crate) fn restore(worker: &Rc<Worker>, restored: Note) {
    let Note { tag, pid, process } = restored;
    let Some(process) = process_number::pidfd(process) else {
        worker.log().error(&format!(
            "tag {tag}: its owner, pid {pid}, is not a process; the tag \
                                    is free"
        ));
        return;
    };
    let Ok(watched) = process.try_clone() else {
        worker
            .log()
            .error(&format!("tag {tag}: its owner, pid {pid}, cannot be watched; it is free"));
        return;
    };
    let number = process_number::number(&process);
    worker.ownership.keep_for(tag, pid, Rc::new(process), number);
    let worker = Rc::clone(worker);
    // The one that is watched, and the other.
    let counted = [(); 2].map(|()| worker.quotas.former_process());
    tokio::task::spawn_local(async move {
        let _counted = counted;
        // A pidfd is readable when its process has ended, see pidfd_open(2).
        let ended = async { Watched::new(watched)?.readable().await };
        if let Err(error) = ended.await {
            worker
                .log()
                .error(&format!("tag {tag}: its owner, pid {pid}, cannot be watched: {error}"));
        }
        let guard = worker.link.lock().await;
        let may = |participant: &Participant| may_claim(&worker, tag, participant);
        alter(&worker, &guard, tag, |ownership| ownership.process_ended(may)).await;
    });
}

/// Tells the supervisor who owns the tag: as it is when its turn to write comes, so that the
/// last word is always the right one. Must not be dropped half done.
pub(crate) async fn note(worker: &Worker, tag: Tag) {
    let guard = worker.link.lock().await;
    note_with(worker, &guard, tag).await;
}

async fn note_with(worker: &Worker, guard: &LinkGuard<'_>, tag: Tag) {
    let owner = worker.ownership.with(tag, TagOwnership::process);
    let pid = owner.as_ref().map_or(0, |(pid, _)| *pid);
    let process = owner.as_ref().map(|(_, process)| process.as_fd());
    // It fails when the supervisor has gone; then this worker ends too.
    let _ = guard.control(Control::Note { tag, pid, process }).await;
}
