//! What is mirrored, and what the journal has of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::RangeInclusive;
use std::rc::Rc;

use fdbroker_wire::{Errno, Slot};

use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::supervisor::deposits::kept::Kept;
use crate::supervisor::deposits::mirror::content::{Content, Entered, Place};
use crate::supervisor::deposits::mirror::journal::{At, Entries, Journal};
use crate::supervisor::deposits::mirror::object_number::ObjectNumber;
use crate::supervisor::deposits::mirror::objects::Objects;
use crate::supervisor::deposits::mirror::orders::{Order, Orders, ToStore};
use crate::supervisor::deposits::mirror::positions::{Key, Positions};
use crate::supervisor::deposits::mirror::storable::why_not_storable;
use crate::supervisor::deposits::mirror::store::{Name, Room};

/// How many bytes are moved with each change, at most, and one entry more: twice as many as a change appends.
const AT_ONCE: usize = 1 << 16;

const OF_A_USER: &str =
    "the service manager cannot keep descriptors of ordinary users before systemd 254";
const NO_ROOM: &str = "the service manager's store has no room for it";

/// All of it.
pub(in super::super) struct State {
    pub(super) journal: Journal,
    /// What the journal is called in the store.
    pub(super) name: Name,
    pub(super) positions: Positions,
    pub(super) content: Content,
    pub(in super::super) objects: Objects,
    pub(in super::super) orders: Orders,
    pub(super) room: Room,
    /// Deposits for which there is no room, by users.
    pub(super) without_room: BTreeMap<(Payer, Slot), Rc<Kept>>,
    /// Slots with a former deposit, by what is to be stored for the next one.
    pub(super) awaited: BTreeMap<ObjectNumber, BTreeSet<Slot>>,
    /// Slots whose former deposit may be of no use any more.
    pub(super) ready: BTreeSet<Slot>,
    /// There may be room for some of them.
    pub(super) has_new_room: bool,
    /// The journal lacks something.
    pub(super) is_behind: bool,
    /// How much of what the last broker had did not come back.
    pub(in super::super) lost_at_start: usize,
    /// Whether a journal of the last broker could not be read, or not to its end.
    pub(in super::super) was_damaged: bool,
    /// The journal has more than was entered here so far.
    pub(super) resumes: bool,
}

impl State {
    /// Goes on with a journal; what it has is still to be entered.
    fn of(journal: Journal, number: u64, room: Room) -> Self {
        let name = Name::Journal(number);
        let (positions, content, orders, without_room) = Default::default();
        let (awaited, ready) = Default::default();
        Self {
            journal,
            name,
            positions,
            content,
            objects: Objects::new(room.most()),
            orders,
            room,
            without_room,
            awaited,
            ready,
            has_new_room: false,
            is_behind: false,
            lost_at_start: 0,
            was_damaged: false,
            resumes: false,
        }
    }

    /// Begins a journal of this number.
    ///
    /// # Errors
    /// As memfd_create(2).
    #[cfg(test)]
    pub(in super::super) fn begin(number: u64, room: Room) -> io::Result<Self> {
        let mut state = Self::begin_unsent(number, room)?;
        state.send_journal()?;
        Ok(state)
    }

    /// The same, where something else is to be sent first.
    ///
    /// # Errors
    /// As memfd_create(2).
    pub(in super::super) fn begin_unsent(number: u64, room: Room) -> io::Result<Self> {
        Ok(Self::of(Journal::begin()?, number, room))
    }

    /// Has the journal sent, behind what is to be sent by now.
    ///
    /// # Errors
    /// As dup(2).
    pub(in super::super) fn send_journal(&mut self) -> io::Result<()> {
        let memory = ToStore::Journal(Rc::new(self.journal.share()?));
        self.orders.push(None, Order::Put(self.name, memory));
        Ok(())
    }

    /// The same with the newest journal of an earlier supervisor, or what is wrong with it. Until all that it has
    /// is entered ([`State::resumed`]), nothing of it is given up.
    pub(in super::super) fn open(
        memory: std::os::fd::OwnedFd,
        number: u64,
        room: Room,
    ) -> Result<(Self, Entries), String> {
        let (journal, entries) = Journal::open(memory)?;
        Ok((Self { resumes: true, ..Self::of(journal, number, room) }, entries))
    }

    /// How much room there is.
    pub(in super::super) fn room(&self) -> Room {
        self.room
    }

    /// How many deposits are mirrored, and how many are not.
    pub(in super::super) fn count(&self) -> (usize, usize) {
        self.content.count()
    }

    /// The slots of those that are not.
    pub(in super::super) fn left_out(&self) -> impl Iterator<Item = Slot> {
        self.content.left_out().map(|kept| kept.slot)
    }

    /// The same of some slots.
    pub(in super::super) fn left_out_of(&self, slots: RangeInclusive<Slot>) -> Vec<Slot> {
        self.content.left_out_of(slots)
    }

    /// Whether what is so of a slot outlives this process. An error says why it never will.
    pub(in super::super) fn outlives(&self, slot: Slot) -> Result<bool, (Errno, &'static str)> {
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

    /// Appends what the journal has to have of something.
    pub(super) fn append(&mut self, key: Key) -> io::Result<()> {
        let Some(record) = self.content.record(key) else { return Ok(()) };
        let at = self.journal.append(&record)?;
        self.positions.set(key, at);
        Ok(())
    }

    /// It does not wait for room any more.
    pub(super) fn needs_no_room(&mut self, kept: &Kept) {
        self.without_room.remove(&(kept.payer, kept.slot));
    }

    /// Wipes what the journal had of something, if it had it.
    pub(super) fn wipe(&self, at: Option<At>, payload: usize) -> io::Result<()> {
        at.map_or(Ok(()), |at| self.journal.wipe(at, payload))
    }

    /// The same of what is there. Returns how many bytes that were.
    pub(super) fn append_again(&mut self, key: Key) -> io::Result<usize> {
        self.append(key)?;
        Ok(self.content.record(key).map_or(0, |record| record.size()))
    }

    /// Gives up what is of no use at the beginning of the journal. If most of it is of no use, moves some of what is
    /// first behind the rest, so that no change takes long.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        let mut moved = 0;
        while moved < AT_ONCE && self.journal.is_wasteful(self.content.size()) {
            let Some((_, key)) = self.positions.first() else { break };
            moved += self.append_again(key)?;
            if let Key::Former(slot) = key {
                // Behind it.
                moved += self.append_again(Key::Deposit(slot))?;
            }
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
    pub(in super::super) fn rewrite(&mut self) -> io::Result<()> {
        let keys = self.content.keys();
        let records = keys.iter().filter_map(|key| self.content.record(*key));
        let places = self.journal.rewrite(records)?;
        self.positions = Positions::default();
        keys.into_iter().zip(places).for_each(|(key, at)| self.positions.set(key, at));
        Ok(())
    }
}
