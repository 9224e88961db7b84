//! What is mirrored, and what has still to be sent for that. No I/O but to the journal, which is memory.
//!
//! Each change is made here first and written into the journal last: if that fails, the journal is compacted, and
//! has then what is here.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use fdbroker_wire::{Slot, Tag};

use super::journal::{At, Entries, Journal};
use super::objects::{Numbered, ObjectNumber, Objects, Standing};
use super::orders::{Order, Orders, ToStore};
use super::storable::is_storable;
use super::store::{Name, Room};
use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;

/// All of it.
pub(super) struct State {
    journal: Journal,
    pub(super) objects: Objects,
    entries: BTreeMap<Slot, Entered>,
    owners: BTreeMap<Tag, ProcessIdentity>,
    /// Bytes of payload in those that the journal has.
    bytes: usize,
    pub(super) orders: Orders,
    room: Room,
}

/// A deposit, and where it is.
struct Entered {
    kept: Rc<Kept>,
    place: Place,
    at: Option<At>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this process only.
    Here,
    /// In the journal, without a descriptor.
    Journal,
    /// In the journal, and the descriptor in the store.
    Store(ObjectNumber),
}

impl State {
    /// Goes on with a journal; what it has is still to be entered.
    pub(super) fn of(journal: Journal, room: Room) -> Self {
        let (entries, owners, orders) = Default::default();
        let objects = Objects::new(room.most());
        Self { journal, objects, entries, owners, bytes: 0, orders, room }
    }

    /// Begins a journal of this number.
    ///
    /// # Errors
    /// As memfd_create(2).
    pub(super) fn begin(number: u64, room: Room) -> io::Result<Self> {
        let journal = Journal::begin()?;
        let memory = ToStore::Journal(Rc::new(journal.share()?));
        let mut state = Self::of(journal, room);
        state.orders.push(None, Order::Put(Name::Journal(number), memory));
        Ok(state)
    }

    /// The same with the newest journal of an earlier supervisor, or what is wrong with it.
    pub(super) fn open(
        memory: std::os::fd::OwnedFd,
        room: Room,
    ) -> Result<(Self, Entries), String> {
        let (journal, entries) = Journal::open(memory)?;
        Ok((Self::of(journal, room), entries))
    }

    /// How many deposits are mirrored, and how many are not.
    pub(super) fn count(&self) -> (usize, usize) {
        let here = self.left_out().count();
        (self.entries.len() - here, here)
    }

    /// The slots of those that are not.
    pub(super) fn left_out(&self) -> impl Iterator<Item = Slot> {
        let here = self.entries.iter().filter(|(_, entered)| entered.place == Place::Here);
        here.map(|(slot, _)| *slot)
    }

    /// Enters a deposit.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn keep(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        let former = self.entries.get(&kept.slot).map(|entered| Rc::clone(&entered.kept));
        let left = match former {
            Some(former) if Rc::ptr_eq(&former, kept) => return Ok(()),
            // It was set aside, and its slot has another one now.
            Some(former) => self.leave(&former),
            None => Ok(()),
        };
        let place = self.place(kept);
        self.insert(kept, place, None);
        left?;
        if place != Place::Here {
            let at = self.journal.keep(kept, place.number())?;
            self.entries.entry(kept.slot).and_modify(|entered| entered.at = Some(at));
        }
        Ok(())
    }

    /// Enters a deposit that the journal has, whose descriptor is stored under `number`, if it has one.
    pub(super) fn enter(&mut self, kept: &Rc<Kept>, number: Option<ObjectNumber>, at: At) {
        let added = number.map(|number| self.objects.add(kept, Some(number)));
        let place = match added {
            None => Place::Journal,
            Some(Ok(Some(found))) => Place::Store(found.number),
            // It is not known from others: it is not mirrored any more.
            Some(Ok(None) | Err(_)) => {
                let name = number.map(Name::Object);
                name.into_iter().for_each(|name| self.orders.push(None, Order::Remove(name)));
                Place::Here
            }
        };
        self.insert(kept, place, Some(at));
    }

    fn insert(&mut self, kept: &Rc<Kept>, place: Place, at: Option<At>) {
        self.entries.insert(kept.slot, Entered { kept: Rc::clone(kept), place, at });
        if place != Place::Here {
            self.bytes += kept.payload.len();
        }
    }

    /// Finds a place for a deposit, and has its descriptor sent there.
    fn place(&mut self, kept: &Rc<Kept>) -> Place {
        let descriptor = kept.descriptor.as_ref().and_then(PeerFd::descriptor);
        let Some(descriptor) = descriptor else { return Place::Journal };
        if !self.room.takes(kept.payer) || !is_storable(descriptor) {
            return Place::Here;
        }
        // On a kernel that compares no descriptors, a duplicate would be lost without a word.
        let Ok(Some(found)) = self.objects.add(kept, None) else { return Place::Here };
        self.send(kept, &found);
        Place::Store(found.number)
    }

    /// Has a descriptor sent, if the store does not have it, or not for long.
    fn send(&mut self, kept: &Rc<Kept>, found: &Numbered) {
        let (name, account) = (Name::Object(found.number), Some(found.payer));
        let is_there = match found.standing {
            Standing::Shared => true,
            Standing::Leaving => self.orders.withdraw_remove(account, name),
            Standing::New => false,
        };
        if !is_there {
            self.orders.push(account, Order::Put(name, ToStore::Deposit(Rc::clone(kept))));
        }
    }

    /// The order that was next has been sent. Returns what can be closed when it has been read.
    pub(super) fn sent(&mut self) -> Option<Rc<Kept>> {
        match self.orders.done()? {
            Order::Remove(Name::Object(number)) => self.objects.gone(number),
            _ => None,
        }
    }

    /// Takes a deposit out, if it is there.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn leave(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        let entered = self.entries.get(&kept.slot);
        if !entered.is_some_and(|entered| Rc::ptr_eq(&entered.kept, kept)) {
            return Ok(());
        }
        let Some(Entered { place, at, .. }) = self.entries.remove(&kept.slot) else {
            return Ok(());
        };
        if place == Place::Here {
            return Ok(());
        }
        self.bytes -= kept.payload.len();
        // Without its entry in the journal, a stored descriptor is nobody's: the order does not matter.
        if let Ok(Some((number, payer))) = self.objects.remove(kept) {
            self.give_up(number, payer);
        }
        self.journal.leave(kept, at)
    }

    /// Has a descriptor removed from the store, or not sent there.
    fn give_up(&mut self, number: ObjectNumber, payer: Payer) {
        let (name, account) = (Name::Object(number), Some(payer));
        if self.orders.withdraw_put(account, name) {
            drop(self.objects.gone(number));
        } else {
            self.orders.push(account, Order::Remove(name));
        }
    }

    /// A tag has another owner, or none that can be told from others.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn own(&mut self, tag: Tag, owner: Option<ProcessIdentity>) -> io::Result<()> {
        let former = match owner {
            Some(owner) => self.owners.insert(tag, owner),
            None => self.owners.remove(&tag),
        };
        if former == owner { Ok(()) } else { self.journal.own(tag, owner) }
    }

    /// Compacts the journal if most of it is of no use any more.
    ///
    /// # Errors
    /// As [`State::compact`].
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        let entries = self.entries.len() + self.owners.len();
        if self.journal.is_wasteful(entries, self.bytes) { self.compact() } else { Ok(()) }
    }

    /// Writes the journal once more.
    ///
    /// # Errors
    /// When there is no memory for that.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        let mirrored = |entered: &&mut Entered| entered.place != Place::Here;
        let all = self.entries.values().filter(|entered| entered.place != Place::Here);
        let all = all.map(|entered| (&*entered.kept, entered.place.number()));
        let owners = self.owners.iter().map(|(tag, owner)| (*tag, *owner));
        let places = self.journal.compact(all, owners)?;
        let entered = self.entries.values_mut().filter(mirrored);
        entered.zip(places).for_each(|(entered, at)| entered.at = Some(at));
        Ok(())
    }
}

impl Place {
    fn number(self) -> Option<ObjectNumber> {
        match self {
            Self::Store(number) => Some(number),
            Self::Here | Self::Journal => None,
        }
    }
}
