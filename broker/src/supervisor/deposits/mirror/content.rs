//! What is mirrored, and what is not, by slots, tags and leases.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use fdbroker_wire::{Slot, Tag};

use super::journal::{self, Record};
use super::leased::Leased;
use super::objects::ObjectNumber;
use super::positions::Key;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;

/// Bytes that follow the head of an owner, and about as many as follow that of a lease.
const OWNER: usize = 32;
const LEASE: usize = 64;

/// All of it.
#[derive(Default)]
pub(super) struct Content {
    deposits: BTreeMap<Slot, Entered>,
    owners: BTreeMap<Tag, ProcessIdentity>,
    leases: BTreeMap<u64, Held>,
    /// How many deposits are here only.
    here: usize,
    /// How many bytes of the journal the others have.
    bytes: usize,
}

/// A deposit, and where it is.
pub(super) struct Entered {
    pub(super) kept: Rc<Kept>,
    pub(super) place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In this process only.
    Here,
    /// In the journal, without a descriptor.
    Journal,
    /// In the journal, and the descriptor in the store.
    Store(ObjectNumber),
}

/// A lease, and its connection in the store.
pub(super) struct Held {
    pub(super) leased: Leased,
    pub(super) connection: Rc<Kept>,
    pub(super) object: ObjectNumber,
}

impl Content {
    pub(super) fn deposit(&self, slot: Slot) -> Option<&Entered> {
        self.deposits.get(&slot)
    }

    /// Enters a deposit in a slot of which nothing is entered.
    pub(super) fn insert(&mut self, kept: &Rc<Kept>, place: Place) {
        match place {
            Place::Here => self.here += 1,
            Place::Journal | Place::Store(_) => self.bytes += journal::size(kept.payload.len()),
        }
        self.deposits.insert(kept.slot, Entered { kept: Rc::clone(kept), place });
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Entered> {
        let entered = self.deposits.remove(&slot)?;
        match entered.place {
            Place::Here => self.here -= 1,
            Place::Journal | Place::Store(_) => {
                self.bytes -= journal::size(entered.kept.payload.len());
            }
        }
        Some(entered)
    }

    /// Enters who owns a tag, if anybody does. Returns whether that is another one.
    pub(super) fn own(&mut self, tag: Tag, owner: Option<ProcessIdentity>) -> bool {
        let former = match owner {
            Some(owner) => self.owners.insert(tag, owner),
            None => self.owners.remove(&tag),
        };
        former != owner
    }

    pub(super) fn lease(&mut self, held: Held) {
        self.leases.insert(held.leased.number, held);
    }

    /// The lease that has this connection.
    pub(super) fn lease_of(&self, connection: &Rc<Kept>) -> Option<u64> {
        let mut leases = self.leases.iter();
        let found = leases.find(|(_, held)| Rc::ptr_eq(&held.connection, connection));
        found.map(|(number, _)| *number)
    }

    pub(super) fn has_lease(&self, number: u64) -> bool {
        self.leases.contains_key(&number)
    }

    pub(super) fn end_lease(&mut self, number: u64) -> Option<Held> {
        self.leases.remove(&number)
    }

    /// How many deposits are mirrored, and how many are not.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.deposits.len() - self.here, self.here)
    }

    /// Those that are not.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &Rc<Kept>> {
        let here = self.deposits.values().filter(|entered| entered.place == Place::Here);
        here.map(|entered| &entered.kept)
    }

    /// Those that are not, of some slots.
    pub(super) fn left_out_of(&self, slots: RangeInclusive<Slot>) -> Vec<Slot> {
        // An empty range has no slots.
        if slots.is_empty() {
            return Vec::new();
        }
        let some = self.deposits.range(slots);
        let here = some.filter(|(_, entered)| entered.place == Place::Here);
        here.map(|(slot, _)| *slot).collect()
    }

    /// How many bytes of the journal are of use.
    pub(super) fn size(&self) -> usize {
        let owners = self.owners.len() * journal::size(OWNER);
        self.bytes + owners + self.leases.len() * journal::size(LEASE)
    }

    /// Everything that is in the journal.
    pub(super) fn keys(&self) -> Vec<Key> {
        let deposits = self.deposits.iter().filter(|(_, entered)| entered.place != Place::Here);
        let deposits = deposits.map(|(slot, _)| Key::Deposit(*slot));
        let owners = self.owners.keys().map(|tag| Key::Owner(*tag));
        let leases = self.leases.keys().map(|number| Key::Lease(*number));
        deposits.chain(owners).chain(leases).collect()
    }

    /// What the journal has of something.
    pub(super) fn record(&self, key: Key) -> Option<Record<'_>> {
        match key {
            Key::Deposit(slot) => {
                let Entered { kept, place } = self.deposits.get(&slot)?;
                match place {
                    Place::Here => None,
                    Place::Journal => Some(Record::Kept(kept, None)),
                    Place::Store(object) => Some(Record::Kept(kept, Some(*object))),
                }
            }
            Key::Owner(tag) => Some(Record::Owned(tag, self.owners.get(&tag).copied())),
            Key::Lease(number) => {
                let Held { leased, object, .. } = self.leases.get(&number)?;
                Some(Record::Leased(leased, *object))
            }
        }
    }
}
