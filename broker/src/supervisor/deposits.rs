//! The copy of every deposit: what the next worker is given when this one dies.
//!
//! Opaque to the supervisor: a slot, a number, bytes and a descriptor.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::{Add, Slot, Tag};

use crate::closer::Closer;

/// One deposit.
pub(super) struct Kept {
    pub(super) slot: Slot,
    pub(super) ufd: i32,
    pub(super) payload: Vec<u8>,
    pub(super) descriptor: Option<OwnedFd>,
}

/// The owner of a serial tag, as the worker noted it.
pub(super) struct Note {
    pub(super) tag: Tag,
    pub(super) pid: i32,
    pub(super) process: Rc<OwnedFd>,
}

/// All of them.
pub(super) struct Deposits {
    kept: BTreeMap<Slot, Rc<Kept>>,
    notes: BTreeMap<Tag, Note>,
    closer: Closer<Tag>,
}

impl Deposits {
    pub(super) fn new() -> Self {
        Self { kept: BTreeMap::new(), notes: BTreeMap::new(), closer: Closer::new() }
    }

    /// Keeps a deposit in the place of what was there.
    pub(super) fn keep(&mut self, add: Add<OwnedFd>) {
        let Add { slot, ufd, payload, descriptor } = add;
        let kept = Kept { slot, ufd, payload, descriptor };
        if let Some(before) = self.kept.insert(slot, Rc::new(kept)) {
            self.close(before);
        }
    }

    /// Forgets a deposit; whether there was one.
    pub(super) fn forget(&mut self, slot: Slot) -> bool {
        let found = self.kept.remove(&slot);
        let existed = found.is_some();
        found.into_iter().for_each(|kept| self.close(kept));
        existed
    }

    /// Notes who owns a serial tag; nobody, when there is no process.
    pub(super) fn note(&mut self, tag: Tag, pid: i32, process: Option<OwnedFd>) {
        match process {
            Some(process) => {
                self.notes.insert(tag, Note { tag, pid, process: Rc::new(process) });
            }
            None => {
                self.notes.remove(&tag);
            }
        }
    }

    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = &Rc<Kept>> {
        self.kept.values()
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.values()
    }

    fn close(&mut self, kept: Rc<Kept>) {
        let tag = kept.slot.tag;
        // Still on its way to a new worker: closed when it has been sent.
        if let Some(descriptor) = Rc::into_inner(kept).and_then(|kept| kept.descriptor) {
            self.closer.close(tag, descriptor, ());
        }
    }
}
