//! What is mirrored, and what has still to be sent for that. No I/O but to the journal, which is memory.
//!
//! Each change is made here first and written into the journal last: if that fails, the journal is written once
//! more, and has then what is here.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, RangeInclusive};
use std::rc::Rc;

use fdbroker_wire::{Errno, Index, Slot, Tag};

use super::content::{Content, Entered, Held, Place};
use super::journal::{At, Entries, Journal, Record};
use super::leased::Leased;
use super::objects::{Numbered, ObjectNumber, Objects, Standing};
use super::orders::{Order, Orders, ToStore};
use super::positions::{Key, Positions};
use super::storable::why_not_storable;
use super::store::{Name, Room};
use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;

/// How many bytes are moved with each change, at most, and one entry more: twice as many as a change appends.
const AT_ONCE: usize = 1 << 16;

const OF_A_USER: &str =
    "the service manager cannot keep descriptors of ordinary users before systemd 254";
const NO_ROOM: &str = "the service manager's store has no room for it";

/// How many deposits that found no room are stored with one change.
const STORED_AT_ONCE: usize = 16;
const LAST_SLOT: Slot = Slot { tag: Tag::MAX, index: Index::MAX };

/// All of it.
pub(super) struct State {
    journal: Journal,
    /// What the journal is called in the store.
    name: Name,
    positions: Positions,
    content: Content,
    pub(super) objects: Objects,
    pub(super) orders: Orders,
    room: Room,
    /// Deposits for which there is no room, by users.
    without_room: BTreeMap<(Payer, Slot), Rc<Kept>>,
    /// There may be room for some of them.
    has_new_room: bool,
    /// The store has turned out to be full.
    pub(super) is_full: bool,
    /// The journal lacks something.
    is_behind: bool,
    /// The journal has more than was entered here so far.
    resumes: bool,
}

/// Why a descriptor is not stored.
#[derive(PartialEq, Eq)]
enum NotStored {
    Never,
    WithoutRoom,
}

impl State {
    /// Goes on with a journal; what it has is still to be entered.
    pub(super) fn of(journal: Journal, number: u64, room: Room) -> Self {
        let name = Name::Journal(number);
        let (positions, content, orders, without_room) = Default::default();
        Self {
            journal,
            name,
            positions,
            content,
            objects: Objects::new(room.most()),
            orders,
            room,
            without_room,
            has_new_room: false,
            is_full: false,
            is_behind: false,
            resumes: false,
        }
    }

    /// Begins a journal of this number.
    ///
    /// # Errors
    /// As memfd_create(2).
    pub(super) fn begin(number: u64, room: Room) -> io::Result<Self> {
        let journal = Journal::begin()?;
        let memory = ToStore::Journal(Rc::new(journal.share()?));
        let mut state = Self::of(journal, number, room);
        state.orders.push(None, Order::Put(state.name, memory));
        Ok(state)
    }

    /// The same with the newest journal of an earlier supervisor, or what is wrong with it. Until all that it has
    /// is entered ([`State::resumed`]), nothing of it is given up.
    pub(super) fn open(
        memory: std::os::fd::OwnedFd,
        number: u64,
        room: Room,
    ) -> Result<(Self, Entries), String> {
        let (journal, entries) = Journal::open(memory)?;
        Ok((Self { resumes: true, ..Self::of(journal, number, room) }, entries))
    }

    /// How much room there is.
    pub(super) fn room(&self) -> Room {
        self.room
    }

    /// How many deposits are mirrored, and how many are not.
    pub(super) fn count(&self) -> (usize, usize) {
        self.content.count()
    }

    /// The slots of those that are not.
    pub(super) fn left_out(&self) -> impl Iterator<Item = Slot> {
        self.content.left_out().map(|kept| kept.slot)
    }

    /// The same of some slots.
    pub(super) fn left_out_of(&self, slots: RangeInclusive<Slot>) -> Vec<Slot> {
        self.content.left_out_of(slots)
    }

    /// Whether what is so of a slot outlives this process. An error says why it never will.
    pub(super) fn outlives(&self, slot: Slot) -> Result<bool, (Errno, &'static str)> {
        let is_written = !self.is_behind && !self.orders.is_unread(self.name);
        let Some(Entered { kept, place }) = self.content.deposit(slot) else {
            return Ok(is_written);
        };
        match place {
            Place::Here => Err(self.why_here(kept)),
            Place::Journal => Ok(is_written),
            Place::Store(object) => Ok(is_written && !self.orders.is_unread(Name::Object(*object))),
        }
    }

    fn why_here(&self, kept: &Kept) -> (Errno, &'static str) {
        let descriptor = kept.descriptor.as_ref().and_then(PeerFd::descriptor);
        if let Some(why) = descriptor.and_then(why_not_storable) {
            return (Errno::OPNOTSUPP, why);
        }
        if !self.room.takes(kept.payer) {
            return (Errno::OPNOTSUPP, OF_A_USER);
        }
        (Errno::DQUOT, NO_ROOM)
    }

    /// Makes a change, and sees to it that the journal is up to date, and most of it of use.
    ///
    /// # Errors
    /// When the journal cannot be written. The next change tries again.
    pub(super) fn change(
        &mut self,
        change: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let changed = change(self).and_then(|()| self.use_room());
        if self.resumes {
            // The next supervisor needs what is not entered yet.
            self.is_behind |= changed.is_err();
            return changed;
        }
        let changed = changed.and_then(|()| self.tidy());
        if changed.is_err() || self.is_behind {
            self.is_behind = true;
            self.rewrite()?;
            self.is_behind = false;
        }
        Ok(())
    }

    /// All that the journal has, and that is still so, has been entered. To be called within [`State::change`].
    pub(super) fn resumed(&mut self, has_losses: bool) {
        self.resumes = false;
        self.is_behind |= has_losses;
    }

    /// Enters a deposit.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn keep(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        let former = self.content.deposit(kept.slot).map(|entered| Rc::clone(&entered.kept));
        let left = match former {
            Some(former) if Rc::ptr_eq(&former, kept) => return Ok(()),
            // It was set aside, and its slot has another one now.
            Some(former) => self.leave(&former),
            None => Ok(()),
        };
        let place = self.place(kept);
        self.content.insert(kept, place);
        left.and_then(|()| self.append(Key::Deposit(kept.slot)))
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
        self.content.insert(kept, place);
        if place != Place::Here {
            self.positions.set(Key::Deposit(kept.slot), at);
        }
    }

    /// Appends what the journal has to have of something.
    fn append(&mut self, key: Key) -> io::Result<()> {
        let Some(record) = self.content.record(key) else { return Ok(()) };
        let at = self.journal.append(&record)?;
        self.positions.set(key, at);
        Ok(())
    }

    /// Finds a place for a deposit, and has its descriptor sent there.
    fn place(&mut self, kept: &Rc<Kept>) -> Place {
        if kept.descriptor.is_none() {
            return Place::Journal;
        }
        match self.object(kept) {
            Ok(object) => Place::Store(object),
            Err(why) => {
                if why == NotStored::WithoutRoom {
                    self.without_room.insert((kept.payer, kept.slot), Rc::clone(kept));
                }
                Place::Here
            }
        }
    }

    /// Finds a place for a descriptor, and has it sent there.
    fn object(&mut self, kept: &Rc<Kept>) -> Result<ObjectNumber, NotStored> {
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

    /// Stores some of the deposits that found no room, if there is room by now.
    fn use_room(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.has_new_room) {
            return Ok(());
        }
        for _ in 0..STORED_AT_ONCE {
            let Some(kept) = self.next_with_room() else { return Ok(()) };
            self.without_room.remove(&(kept.payer, kept.slot));
            self.content.remove(kept.slot);
            let place = self.place(&kept);
            self.content.insert(&kept, place);
            self.append(Key::Deposit(kept.slot))?;
        }
        self.has_new_room = true;
        Ok(())
    }

    /// A deposit of a user for which there is room now.
    fn next_with_room(&self) -> Option<Rc<Kept>> {
        let mut behind = Bound::Unbounded;
        loop {
            let mut later = self.without_room.range((behind, Bound::Unbounded));
            let ((payer, _), kept) = later.next()?;
            if self.objects.has_room(*payer) {
                return Some(Rc::clone(kept));
            }
            behind = Bound::Excluded((*payer, LAST_SLOT));
        }
    }

    /// The service manager has not kept all that was sent last. It does not say what of it: none of that counts.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn refuse_last(&mut self) -> io::Result<()> {
        let refused = self.orders.refused();
        self.is_full = true;
        self.objects.is_full(refused.len());
        for name in refused {
            let Name::Object(number) = name else { continue };
            for kept in self.objects.holders(number) {
                self.take_back(&kept)?;
            }
        }
        Ok(())
    }

    /// Takes a deposit or a lease out that the service manager may not have kept.
    fn take_back(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        if let Some(lease) = self.content.lease_of(kept) {
            return self.end_lease(lease);
        }
        let entered = self.content.deposit(kept.slot);
        if entered.is_some_and(|entered| Rc::ptr_eq(&entered.kept, kept)) {
            self.leave(kept)?;
            self.content.insert(kept, Place::Here);
            self.without_room.insert((kept.payer, kept.slot), Rc::clone(kept));
        }
        Ok(())
    }

    /// The journal itself was not kept: nothing outlives this process.
    pub(super) fn give_up_all(&mut self) {
        (self.positions, self.content) = Default::default();
        (self.orders, self.without_room) = Default::default();
        self.objects = Objects::new(0);
    }

    /// Whether what was sent last was the journal.
    pub(super) fn has_sent_journal(&self) -> bool {
        self.orders.has_sent(self.name)
    }

    /// Has a descriptor sent, if the store does not have it, or not for long.
    fn send(&mut self, kept: &Rc<Kept>, found: &Numbered) {
        let (name, account) = (Name::Object(found.number), Some(found.payer));
        let is_there = match found.standing {
            Standing::Shared => true,
            Standing::Leaving => self.orders.withdraw_remove(name),
            Standing::New => false,
        };
        if !is_there {
            self.orders.push(account, Order::Put(name, ToStore::Deposit(Rc::clone(kept))));
        }
    }

    /// The order that was next has been sent. Returns what can be closed when it has been read.
    pub(super) fn sent(&mut self) -> Option<Rc<Kept>> {
        match self.orders.done()? {
            Order::Remove(Name::Object(number)) => {
                self.has_new_room = true;
                self.objects.gone(number)
            }
            _ => None,
        }
    }

    /// Takes a deposit out, if it is there.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn leave(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        let entered = self.content.deposit(kept.slot);
        if !entered.is_some_and(|entered| Rc::ptr_eq(&entered.kept, kept)) {
            return Ok(());
        }
        self.without_room.remove(&(kept.payer, kept.slot));
        let entered = self.content.remove(kept.slot);
        if entered.is_none_or(|Entered { place, .. }| place == Place::Here) {
            return Ok(());
        }
        self.give_up(kept);
        self.forget(Key::Deposit(kept.slot), kept.payload.len(), &Record::Left(kept.slot))
    }

    /// Appends that something is no more, and wipes what the journal had of it.
    fn forget(&mut self, key: Key, payload: usize, record: &Record<'_>) -> io::Result<()> {
        let at = self.positions.remove(key);
        self.journal.append(record)?;
        at.map_or(Ok(()), |at| self.journal.wipe(at, payload))
    }

    /// Has a descriptor removed from the store, or not sent there, if nothing else has it.
    fn give_up(&mut self, kept: &Rc<Kept>) {
        // Without its entry in the journal, a stored descriptor is nobody's: the order does not matter.
        let Ok(Some((number, payer))) = self.objects.remove(kept) else { return };
        let (name, account): (_, Option<Payer>) = (Name::Object(number), Some(payer));
        if self.orders.withdraw_put(name) {
            drop(self.objects.gone(number));
            self.has_new_room = true;
        } else {
            self.orders.push(account, Order::Remove(name));
        }
    }

    /// A tag has another owner, or none that can be told from others.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn own(&mut self, tag: Tag, owner: Option<ProcessIdentity>) -> io::Result<()> {
        if !self.content.own(tag, owner) {
            return Ok(());
        }
        match owner {
            Some(_) => self.append(Key::Owner(tag)),
            None => {
                self.positions.remove(Key::Owner(tag));
                self.journal.append(&Record::Owned(tag, None)).map(drop)
            }
        }
    }

    /// A lease of a connection has begun.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn lease(&mut self, leased: Leased, connection: Rc<Kept>) -> io::Result<()> {
        let number = leased.number;
        let Ok(object) = self.object(&connection) else { return Ok(()) };
        self.content.lease(Held { leased, connection, object });
        self.append(Key::Lease(number))
    }

    /// The same of one that the journal has, whose connection is stored.
    ///
    /// # Errors
    /// As [`State::lease`].
    pub(super) fn lease_again(
        &mut self,
        leased: Leased,
        connection: Rc<Kept>,
        object: ObjectNumber,
    ) -> io::Result<()> {
        let number = leased.number;
        let added = self.objects.add(&connection, Some(object))?;
        let Some(Numbered { number: object, .. }) = added else { return Ok(()) };
        self.content.lease(Held { leased, connection, object });
        self.append(Key::Lease(number))
    }

    /// Whether it has a lease.
    pub(super) fn has_lease(&self, number: u64) -> bool {
        self.content.has_lease(number)
    }

    /// A lease has ended.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(super) fn end_lease(&mut self, number: u64) -> io::Result<()> {
        let Some(Held { leased, connection, .. }) = self.content.end_lease(number) else {
            return Ok(());
        };
        self.give_up(&connection);
        self.positions.remove(Key::Lease(number));
        self.journal.append(&Record::Ended(&leased)).map(drop)
    }

    /// Gives up what is of no use at the beginning of the journal. If most of it is of no use, moves some of what is
    /// first behind the rest, so that no change takes long.
    fn tidy(&mut self) -> io::Result<()> {
        let mut moved = 0;
        while moved < AT_ONCE && self.journal.is_wasteful(self.content.size()) {
            let Some((_, key)) = self.positions.first() else { break };
            moved += self.content.record(key).map_or(0, |record| record.size());
            self.append(key)?;
        }
        if moved > 0 || self.journal.is_wasteful(self.content.size()) {
            self.journal.forget_before(self.positions.first().map(|(at, _)| at))?;
        }
        Ok(())
    }

    /// Writes the journal once more, as a whole.
    ///
    /// # Errors
    /// When there is no memory for that.
    fn rewrite(&mut self) -> io::Result<()> {
        let keys = self.content.keys();
        let records = keys.iter().filter_map(|key| self.content.record(*key));
        let places = self.journal.rewrite(records)?;
        self.positions = Positions::default();
        keys.into_iter().zip(places).for_each(|(key, at)| self.positions.set(key, at));
        Ok(())
    }
}
