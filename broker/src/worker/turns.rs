//! Serial tags: the first session that touches one owns it until it disconnects; the next one's
//! request waits.
//!
//! The supervisor is told which process owns a tag. If this worker dies, the next one keeps the
//! tag for that process until it connects again or ends: a crash of the broker must not hand one
//! instance's sockets to another that was waiting.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use fdbroker_wire::{Control, Tag};
use tokio::sync::oneshot;

use super::Worker;
use super::identity::Identity;
use super::restore::Note;
use crate::sys::watch::Watched;

/// The serial tags that have an owner.
#[derive(Default)]
pub(super) struct Turns {
    gates: RefCell<HashMap<Tag, Gate>>,
    next: Cell<u64>,
}

/// A session, as far as turns go.
#[derive(Clone)]
pub(super) struct Holder {
    id: u64,
    pid: i32,
    process: Option<Rc<OwnedFd>>,
}

struct Gate {
    owner: Owner,
    waiting: VecDeque<(Holder, oneshot::Sender<()>)>,
}

enum Owner {
    Session(Holder),
    /// It owned the tag when the last worker died, and lives.
    Process {
        pid: i32,
        process: Rc<OwnedFd>,
    },
}

/// Whether the turn has come.
enum Turn {
    Mine { newly: bool },
    Wait(oneshot::Receiver<()>),
}

impl Turns {
    /// A new session.
    pub(super) fn holder(&self, identity: &Identity) -> Holder {
        let id = self.next.replace(self.next.get() + 1);
        Holder { id, pid: identity.pid, process: identity.process.clone() }
    }

    fn ask(&self, tag: Tag, holder: &Holder) -> Turn {
        let mut gates = self.gates.borrow_mut();
        let Some(gate) = gates.get_mut(&tag) else {
            let owner = Owner::Session(holder.clone());
            gates.insert(tag, Gate { owner, waiting: VecDeque::new() });
            return Turn::Mine { newly: true };
        };
        match &gate.owner {
            Owner::Session(owner) if owner.id == holder.id => Turn::Mine { newly: false },
            Owner::Process { pid, .. } if *pid == holder.pid && *pid != 0 => {
                gate.owner = Owner::Session(holder.clone());
                Turn::Mine { newly: true }
            }
            _ => {
                let (turn, wait) = oneshot::channel();
                // Those who left while they waited go here, and their descriptors with them.
                gate.waiting.retain(|(_, turn)| !turn.is_closed());
                gate.waiting.push_back((holder.clone(), turn));
                Turn::Wait(wait)
            }
        }
    }

    /// Gives the tag to the next who still waits, if `leaves` says that its owner goes; whether
    /// anything changed.
    fn pass_on(&self, tag: Tag, leaves: impl FnOnce(&Owner) -> bool) -> bool {
        let mut gates = self.gates.borrow_mut();
        let Some(gate) = gates.get_mut(&tag) else { return false };
        if !leaves(&gate.owner) {
            return false;
        }
        while let Some((next, turn)) = gate.waiting.pop_front() {
            if turn.send(()).is_ok() {
                gate.owner = Owner::Session(next);
                return true;
            }
        }
        gates.remove(&tag);
        true
    }

    /// Who owns the tag now, for the supervisor.
    fn owner(&self, tag: Tag) -> Option<(i32, Rc<OwnedFd>)> {
        match &self.gates.borrow().get(&tag)?.owner {
            Owner::Session(holder) => Some((holder.pid, Rc::clone(holder.process.as_ref()?))),
            Owner::Process { pid, process } => Some((*pid, Rc::clone(process))),
        }
    }
}

/// Waits until `tag` is this session's; gives whether that is news for [`note`]. Can be dropped:
/// a place in the queue is then lost, and what was won is given up by [`leave`].
pub(super) async fn wait(worker: &Worker, tag: Tag, holder: &Holder) -> bool {
    loop {
        match worker.turns.ask(tag, holder) {
            Turn::Mine { newly } => return newly,
            // When whoever passes it on has gone, ask anew.
            Turn::Wait(turn) => {
                if turn.await.is_ok() {
                    return true;
                }
            }
        }
    }
}

/// Gives up a tag, if it is this session's.
pub(super) async fn leave(worker: &Worker, tag: Tag, holder: &Holder) {
    let mine = |owner: &Owner| matches!(owner, Owner::Session(owner) if owner.id == holder.id);
    if worker.turns.pass_on(tag, mine) {
        note(worker, tag).await;
    }
}

/// Keeps a tag for the process that owned it before this worker was started.
pub(super) fn restore(worker: &Rc<Worker>, restored: Note) {
    let Note { tag, pid, process } = restored;
    let Ok(watched) = process.try_clone() else {
        worker
            .log()
            .error(&format!("tag {tag}: its owner, pid {pid}, cannot be watched; it is free"));
        return;
    };
    let owner = Owner::Process { pid, process: Rc::new(process) };
    worker.turns.gates.borrow_mut().insert(tag, Gate { owner, waiting: VecDeque::new() });
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        // A pidfd is readable when its process has ended, see pidfd_open(2).
        let ended = async { Watched::new(watched)?.readable().await };
        if let Err(error) = ended.await {
            worker
                .log()
                .error(&format!("tag {tag}: its owner, pid {pid}, cannot be watched: {error}"));
        }
        if worker.turns.pass_on(tag, |owner| matches!(owner, Owner::Process { .. })) {
            note(&worker, tag).await;
        }
    });
}

/// Tells the supervisor who owns the tag: as it is when its turn to write comes, so that the
/// last word is always the right one. Must not be dropped half done.
pub(super) async fn note(worker: &Worker, tag: Tag) {
    let pen = worker.vault.pen().await;
    let owner = worker.turns.owner(tag);
    let pid = owner.as_ref().map_or(0, |(pid, _)| *pid);
    let process = owner.as_ref().map(|(_, process)| process.as_fd());
    // It fails when the supervisor has gone; then this worker ends too.
    let _ = pen.control(Control::Note { tag, pid, process }).await;
}
