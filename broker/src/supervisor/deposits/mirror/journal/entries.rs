//! What is so at the end of a journal.

use std::collections::BTreeMap;

use fdbroker_wire::{Payload, Slot, Tag};

use super::super::leased::Leased;
use super::super::object_number::ObjectNumber;
use super::record::{At, Head, Said};
use crate::process_identity::ProcessIdentity;

/// A deposit, as a journal has it.
#[derive(PartialEq, Eq, Debug)]
pub(in super::super) struct JournalEntry {
    pub(in super::super) slot: Slot,
    pub(in super::super) ufd: i32,
    /// The descriptor's, where there is one.
    pub(in super::super) object: Option<ObjectNumber>,
    pub(in super::super) payload: Payload,
    pub(in super::super) at: At,
    /// What was there before, where this one may not be stored yet.
    pub(in super::super) former: Option<Box<JournalEntry>>,
}

/// What is so at its end, or before its first damage.
#[derive(Default)]
pub(in super::super) struct Entries {
    pub(in super::super) deposits: BTreeMap<Slot, JournalEntry>,
    /// The owners of tags that were noted while this kernel ran.
    pub(in super::super) owners: BTreeMap<Tag, ProcessIdentity>,
    /// The leases likewise, by their numbers, and their connections.
    pub(in super::super) leases: BTreeMap<u64, (Leased, ObjectNumber)>,
    /// Where it cannot be read any further.
    pub(in super::super) damage: Option<Damage>,
}

/// What is wrong with a journal from some byte on.
pub(in super::super) struct Damage {
    pub(in super::super) problem: String,
    pub(super) at: u64,
    /// How many bytes of it are not read.
    pub(in super::super) lost: u64,
}

impl JournalEntry {
    /// What it is to an entry of the same slot that follows it.
    fn before(mut self, object: Option<ObjectNumber>) -> Option<Box<Self>> {
        if self.object == object {
            // It has been moved.
            return self.former;
        }
        self.former = None;
        // Without a descriptor, the other is all there.
        object.map(|_| Box::new(self))
    }

    /// It, or the former one where only that is stored.
    fn stored(mut self, is_stored: impl Fn(ObjectNumber) -> bool) -> Self {
        let is_there = |object: Option<ObjectNumber>| object.is_none_or(&is_stored);
        match self.former.take() {
            Some(former) if !is_there(self.object) && is_there(former.object) => *former,
            _ => self,
        }
    }
}

impl Entries {
    /// Chooses, where there is a former deposit, the newer one that is stored. Returns how many were to be chosen from.
    pub(in super::super) fn choose(&mut self, is_stored: impl Fn(ObjectNumber) -> bool) -> usize {
        let all = std::mem::take(&mut self.deposits);
        let with_former = all.values().filter(|entry| entry.former.is_some()).count();
        let chosen = all.into_iter().map(|(slot, entry)| (slot, entry.stored(&is_stored)));
        self.deposits = chosen.collect();
        with_former
    }

    pub(super) fn take(&mut self, said: Said, head: &Head, payload: Payload, at: At) {
        let (slot, ufd, object) = (head.slot, head.number, head.object);
        match said {
            Said::Kept => {
                let before = self.deposits.remove(&slot);
                let former = before.and_then(|before| before.before(object));
                let entry = JournalEntry { slot, ufd, object, payload, at, former };
                self.deposits.insert(slot, entry);
            }
            Said::Left => drop(self.deposits.remove(&slot)),
            Said::Owned(Some(owner)) => drop(self.owners.insert(slot.tag, owner)),
            Said::Owned(None) => drop(self.owners.remove(&slot.tag)),
            Said::Leased(lease) => {
                let lease = lease.zip(object);
                lease
                    .map(|(lease, object)| self.leases.insert(lease.lease.number, (lease, object)));
            }
            Said::Ended(number) => drop(self.leases.remove(&number)),
        }
    }
}
