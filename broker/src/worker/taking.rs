//! Deposits that are being taken: they are there for nobody else until it is known whether the answer
//! was sent.
//!
//! Before the answer goes, the supervisor is told who is about to be given them. If this worker dies
//! before it has deleted them, nobody knows whether the answer arrived. Then the next worker keeps
//! them for that process: it can take them again, and nobody else sees them until it has ended.
//! So none is lost, and none is with two processes at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use fdbroker_wire::{Control, Index, Slot, Tag};

use super::deposit::Deposit;
use super::holder::Holder;
use super::restore::Take;
use super::{Worker, process_number};
use crate::sys::watch::Watched;

/// Which deposits that are, by their addresses, and who takes each.
#[derive(Default)]
pub(super) struct Taking {
    now: Rc<RefCell<Takers>>,
    /// What an earlier worker was giving to a process that lives.
    kept: RefCell<HashMap<Slot, Rc<Former>>>,
}

/// The process that an earlier worker was giving something to.
struct Former {
    pid: i32,
    process: Watched,
}

type Takers = HashMap<*const Deposit, Rc<Holder>>;

/// A deposit that is being taken, until this is dropped. It keeps the address from being another's.
pub(super) struct Taken {
    pub(super) deposit: Rc<Deposit>,
    taker: Rc<Holder>,
    taking: Rc<RefCell<Takers>>,
}

impl Taking {
    /// Who takes a deposit. What was put in its slot meanwhile is another one.
    pub(super) fn taker(&self, deposit: &Rc<Deposit>) -> Option<Rc<Holder>> {
        let takers = self.now.borrow();
        if takers.is_empty() { None } else { takers.get(&Rc::as_ptr(deposit)).cloned() }
    }

    pub(super) fn begin(&self, deposit: &Rc<Deposit>, taker: &Rc<Holder>) -> Taken {
        self.now.borrow_mut().insert(Rc::as_ptr(deposit), Rc::clone(taker));
        let (deposit, taker) = (Rc::clone(deposit), Rc::clone(taker));
        Taken { deposit, taker, taking: Rc::clone(&self.now) }
    }

    /// Whether a slot's deposit is kept for another process than this session's.
    pub(super) fn is_kept_from(&self, slot: Slot, holder: &Holder) -> bool {
        let kept = self.kept.borrow();
        !kept.is_empty() && kept.get(&slot).is_some_and(|former| !former.is(holder))
    }

    /// Something else lies in a slot, or nothing: it is kept for nobody.
    pub(super) fn forget(&self, slot: Slot) {
        let mut kept = self.kept.borrow_mut();
        if !kept.is_empty() {
            kept.remove(&slot);
        }
    }
}

impl Former {
    fn is(&self, holder: &Holder) -> bool {
        let theirs = holder.identity.process.as_ref().and_then(process_number::number);
        match process_number::number(&self.process) {
            Some(number) if theirs.is_some() => theirs == Some(number),
            _ => self.pid != 0 && self.pid == holder.pid(),
        }
    }
}

/// Tells the supervisor who is about to be given what lies in some slots of a tag; none when it has gone.
/// A process that the kernel does not name is told of to nobody: what it takes can be given twice.
pub(super) async fn announce(
    worker: &Worker,
    tag: Tag,
    taken: &[Taken],
    holder: &Holder,
) -> Option<()> {
    let Some(process) = &holder.identity.process else { return Some(()) };
    tell(worker, tag, taken, Some((holder.pid(), process.as_fd()))).await
}

/// Tells it that they are given to nobody after all.
pub(super) async fn call_off(worker: &Worker, tag: Tag, taken: &[Taken]) -> Option<()> {
    tell(worker, tag, taken, None).await
}

/// Says who takes them, of those that still lie there. Whoever replaces one needs the pen: what is found
/// with it in hand is what the supervisor has.
async fn tell(
    worker: &Worker,
    tag: Tag,
    taken: &[Taken],
    taker: Option<(i32, BorrowedFd<'_>)>,
) -> Option<()> {
    if taken.is_empty() {
        return Some(());
    }
    let pen = worker.vault.pen().await;
    let there = taken.iter().filter(|taken| taken.is_there(worker));
    let indices: Vec<Index> = there.map(|taken| taken.deposit.slot.index).collect();
    if indices.is_empty() {
        return Some(());
    }
    let (pid, process) = (taker.map_or(0, |(pid, _)| pid), taker.map(|(_, process)| process));
    pen.control(Control::Taking { tag, indices, pid, process }).await.ok()
}

/// Keeps what an earlier worker was giving to a process for that process, until it ends.
pub(super) fn restore(worker: &Rc<Worker>, take: Take) {
    let Take { slots, pid, process } = take;
    let Some(process) = process_number::pidfd(process) else {
        worker.log().error(&format!("who was taking a deposit, pid {pid}, is no process"));
        return;
    };
    let Ok(process) = Watched::new(process) else {
        worker.log().error(&format!("who was taking a deposit, pid {pid}, cannot be watched"));
        return;
    };
    let former = Rc::new(Former { pid, process });
    let each = slots.iter().map(|slot| (*slot, Rc::clone(&former)));
    worker.taking.kept.borrow_mut().extend(each);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        // A pidfd is readable when its process has ended, see pidfd_open(2).
        if former.process.readable().await.is_ok() {
            slots.into_iter().for_each(|slot| worker.taking.give_up(slot, &former));
        }
    });
}

impl Taking {
    /// The process has ended: what was kept for it in a slot is there for everybody.
    fn give_up(&self, slot: Slot, former: &Rc<Former>) {
        let mut kept = self.kept.borrow_mut();
        if kept.get(&slot).is_some_and(|found| Rc::ptr_eq(found, former)) {
            kept.remove(&slot);
        }
    }
}

impl Taken {
    /// Whether it lies in its slot, and nobody else has begun to take it: what has replaced it may be
    /// somebody else's.
    fn is_there(&self, worker: &Worker) -> bool {
        let slots = worker.slots.borrow();
        let found = slots.get(self.deposit.slot);
        let takers = self.taking.borrow();
        let taker = takers.get(&Rc::as_ptr(&self.deposit));
        found.is_some_and(|found| Rc::ptr_eq(found, &self.deposit))
            && taker.is_some_and(|taker| Rc::ptr_eq(taker, &self.taker))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let (address, mut takers) = (Rc::as_ptr(&self.deposit), self.taking.borrow_mut());
        // Another one may take by now what the tag's former owner is not to have.
        if takers.get(&address).is_some_and(|taker| Rc::ptr_eq(taker, &self.taker)) {
            takers.remove(&address);
        }
    }
}
