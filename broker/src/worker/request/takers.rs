//! Tells the supervisor which process takes which deposits. Keeps for a process that lives what the last
//! worker was giving to it.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use fdbroker_wire::{Control, Index, Tag};

use crate::process_number;
use crate::sys::watch::Watched;
use crate::worker::disconnected::Disconnected;
use crate::worker::ownership::participant::Participant;
use crate::worker::state::Worker;
use crate::worker::store::pending_take::{Former, Reservation};
use crate::worker::supervisor_link::restore::Take;

/// Tells the supervisor who is about to be given the deposits in some slots of a tag.
/// A process that the kernel does not name is told of to nobody: what it takes can be given twice.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn announce(
    worker: &Worker,
    tag: Tag,
    taken: &[Reservation],
    participant: &Participant,
) -> Result<(), Disconnected> {
    let Some(process) = &participant.identity.process else { return Ok(()) };
    tell(worker, tag, taken, Some((participant.pid(), process.as_fd()))).await
}

/// Tells it that they are given to nobody after all.
///
/// # Errors
/// If the supervisor has gone.
pub(crate) async fn call_off(
    worker: &Worker,
    tag: Tag,
    taken: &[Reservation],
) -> Result<(), Disconnected> {
    tell(worker, tag, taken, None).await
}

/// Tells the supervisor who takes the deposits that are still in their slots.
///
/// Replacing a deposit needs the lock of the link. So the deposits that are found while the lock is
/// held are those that the supervisor has.
async fn tell(
    worker: &Worker,
    tag: Tag,
    taken: &[Reservation],
    taker: Option<(i32, BorrowedFd<'_>)>,
) -> Result<(), Disconnected> {
    if taken.is_empty() {
        return Ok(());
    }
    let guard = worker.link.lock().await;
    let there = taken.iter().filter(|taken| taken.is_there(&worker.slots.borrow()));
    let indices: Vec<Index> = there.map(|taken| taken.deposit.slot.index).collect();
    if indices.is_empty() {
        return Ok(());
    }
    let (pid, process) = (taker.map_or(0, |(pid, _)| pid), taker.map(|(_, process)| process));
    Ok(guard.control(Control::Taking { tag, indices, pid, process }).await?)
}

/// Keeps what an earlier worker was giving to a process for that process, until it ends.
pub(crate) fn restore(worker: &Rc<Worker>, take: Take) {
    let Take { slots, pid, process } = take;
    let Some(process) = process_number::pidfd(process) else {
        worker.log().error(&format!("the taker of a deposit, pid {pid}, is not a process"));
        return;
    };
    let Ok(process) = Watched::new(process) else {
        worker.log().error(&format!("the taker of a deposit, pid {pid}, cannot be watched"));
        return;
    };
    let former = Rc::new(Former { pid, process });
    worker.taking.keep_for(&former, &slots);
    let worker = Rc::clone(worker);
    let counted = worker.quotas.former_process();
    tokio::task::spawn_local(async move {
        let _counted = counted;
        // A pidfd is readable when its process has ended, see pidfd_open(2).
        if former.process.readable().await.is_ok() {
            slots.into_iter().for_each(|slot| worker.taking.give_up(slot, &former));
        }
    });
}
