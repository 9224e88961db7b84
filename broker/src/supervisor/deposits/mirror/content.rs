//! What is mirrored, and what is not, by slots, tags and leases.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use fdbroker_wire::{Slot, Tag};

use super::journal::{self, Record};
use super::leased::Leased;
use super::object_number::ObjectNumber;
use super::positions::Key;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;

/// Bytes that follow the head of an owner, and about as many as follow that of a lease.
const OWNER: usize = 32;
const LEASE: usize = 112;

/// All of it.
#[derive(Default)]
pub(super) struct Content {
    deposits: BTreeMap<Slot, Entered>,
    /// What was in their slots before, as long as the journal has that too.
    formers: BTreeMap<Slot, Former>,
    owners: BTreeMap<Tag, ProcessIdentity>,
    leases: BTreeMap<u64, Held>,
    /// How many deposits are here only.
    here: usize,
    /// How many bytes of the journal the others and the former ones have.
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

/// A deposit that was replaced. It comes back as long as the next one may not.
struct Former {
    entered: Entered,
    /// Whether it stays where the next one never comes back.
    is_held: bool,
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
        self.here += usize::from(place == Place::Here);
        self.bytes += size(kept, place);
        self.deposits.insert(kept.slot, Entered { kept: Rc::clone(kept), place });
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Entered> {
        let entered = self.deposits.remove(&slot)?;
        self.here -= usize::from(entered.place == Place::Here);
        self.bytes -= size(&entered.kept, entered.place);
        Some(entered)
    }

    /// Takes out the deposit of a slot, which is replaced. It becomes the former one, if there is none and the journal
    /// has it. If not, returns it.
    pub(super) fn replace(&mut self, slot: Slot, is_held: bool) -> Option<Entered> {
        let entered = self.remove(slot)?;
        if let Some(former) = self.formers.get_mut(&slot) {
            former.is_held = is_held;
            return Some(entered);
        }
        if entered.place == Place::Here {
            return Some(entered);
        }
        self.bytes += size(&entered.kept, entered.place);
        self.formers.insert(slot, Former { entered, is_held });
        None
    }

    /// Whether a slot has a former deposit.
    pub(super) fn has_former(&self, slot: Slot) -> bool {
        self.formers.contains_key(&slot)
    }

    /// Whether it has one that stays where the next one never comes back.
    pub(super) fn holds_former(&self, slot: Slot) -> bool {
        self.formers.get(&slot).is_some_and(|former| former.is_held)
    }

    /// Whether this is the former deposit of its slot.
    pub(super) fn is_former(&self, kept: &Rc<Kept>) -> bool {
        let former = self.formers.get(&kept.slot);
        former.is_some_and(|former| Rc::ptr_eq(&former.entered.kept, kept))
    }

    pub(super) fn remove_former(&mut self, slot: Slot) -> Option<Entered> {
        let Former { entered, .. } = self.formers.remove(&slot)?;
        self.bytes -= size(&entered.kept, entered.place);
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
        self.leases.insert(held.leased.lease.number, held);
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

    /// Everything that is in the journal, each former deposit before the next one.
    pub(super) fn keys(&self) -> Vec<Key> {
        let deposits = self.deposits.iter().filter(|(_, entered)| entered.place != Place::Here);
        let deposits = deposits.map(|(slot, _)| Key::Deposit(*slot));
        let deposits = self.formers.keys().map(|slot| Key::Former(*slot)).chain(deposits);
        let owners = self.owners.keys().map(|tag| Key::Owner(*tag));
        let leases = self.leases.keys().map(|number| Key::Lease(*number));
        deposits.chain(owners).chain(leases).collect()
    }

    /// What the journal has of something.
    pub(super) fn record(&self, key: Key) -> Option<Record<'_>> {
        match key {
            Key::Deposit(slot) => self.deposits.get(&slot)?.record(),
            Key::Former(slot) => self.formers.get(&slot)?.entered.record(),
            Key::Owner(tag) => Some(Record::Owned(tag, self.owners.get(&tag).copied())),
            Key::Lease(number) => {
                let Held { leased, object, .. } = self.leases.get(&number)?;
                Some(Record::Leased(leased, *object))
            }
        }
    }
}

impl Entered {
    fn record(&self) -> Option<Record<'_>> {
        let Self { kept, place } = self;
        match place {
            Place::Here => None,
            Place::Journal => Some(Record::Kept(kept, None)),
            Place::Store(object) => Some(Record::Kept(kept, Some(*object))),
        }
    }
}

/// How many bytes of the journal a deposit has.
fn size(kept: &Kept, place: Place) -> usize {
    if place == Place::Here { 0 } else { journal::size(kept.payload.len()) }
}
