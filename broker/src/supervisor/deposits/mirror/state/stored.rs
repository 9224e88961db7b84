//! Descriptors, each in the store or on its way.

use std::rc::Rc;

use super::mirrored::State;
use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::supervisor::deposits::kept::Kept;
use crate::supervisor::deposits::mirror::object_number::ObjectNumber;
use crate::supervisor::deposits::mirror::objects::{Numbered, Standing};
use crate::supervisor::deposits::mirror::orders::{Order, ToStore};
use crate::supervisor::deposits::mirror::storable::why_not_storable;
use crate::supervisor::deposits::mirror::store::Name;

/// Why a descriptor is not stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NotStored {
    Never,
    WithoutRoom,
}

impl State {
    /// Finds a place for a descriptor, and has it sent there.
    pub(super) fn object(&mut self, kept: &Rc<Kept>) -> Result<ObjectNumber, NotStored> {
        let descriptor = kept.descriptor.as_ref().and_then(PeerFd::descriptor);
        let descriptor = descriptor.filter(|_| self.room.takes(kept.payer));
        if descriptor.is_none_or(|descriptor| why_not_storable(descriptor).is_some()) {
            return Err(NotStored::Never);
        }
        // On a kernel that compares no descriptors, a duplicate would be lost without a word.
        let added = self.objects.add(kept, None).map_err(|_| NotStored::Never)?;
        let found = added.ok_or(NotStored::WithoutRoom)?;
        self.send(kept, &found);
        Ok(found.number)
    }

    /// Has a descriptor sent, if the store does not have it, or not for long.
    fn send(&mut self, kept: &Rc<Kept>, found: &Numbered) {
        let (name, account) = (Name::Object(found.number), Some(found.payer));
        let is_there = match found.standing {
            Standing::Shared => true,
            // In a store without room, it may never have been.
            Standing::Leaving => self.orders.withdraw_remove(name) && !self.objects.is_bounded(),
            Standing::New => false,
        };
        if !is_there {
            self.orders.push(account, Order::Put(name, ToStore::Deposit(Rc::clone(kept))));
        }
    }

    /// The order that was next has been sent. Returns what can be closed when it has been read.
    pub(in super::super) fn sent(&mut self) -> Option<Rc<Kept>> {
        match self.orders.done()? {
            Order::Remove(Name::Object(number)) => {
                self.has_new_room = true;
                self.objects.gone(number)
            }
            _ => None,
        }
    }

    /// Has a descriptor removed from the store, or not sent there, if nothing else has it.
    pub(super) fn give_up(&mut self, kept: &Rc<Kept>) {
        // Without its entry in the journal, a stored descriptor is nobody's: the order does not matter.
        let Ok(Some((number, payer))) = self.objects.remove(kept) else { return };
        let (name, account): (_, Option<Payer>) = (Name::Object(number), Some(payer));
        if self.orders.withdraw_put(name) {
            drop(self.objects.gone(number));
            self.awaited.remove(&number);
            self.has_new_room = true;
        } else {
            self.orders.push(account, Order::Remove(name));
        }
    }

    /// Whether what was sent last was the journal.
    pub(in super::super) fn has_sent_journal(&self) -> bool {
        self.orders.has_sent(self.name)
    }
}
