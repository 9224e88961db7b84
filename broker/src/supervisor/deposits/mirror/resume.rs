//! What an earlier supervisor left in the service manager's store, and how this one goes on from it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::{Add, Slot, Tag};

use super::Mirror;
use super::journal::{At, Entries, JournalEntry};
use super::journals::{Journals, Unreadable};
use super::leased::{Leased, ReturnedLease};
use super::object_number::ObjectNumber;
use super::orders::Order;
use super::start_report::{tell_journals, tell_restored, tell_without_journal};
use super::state::State;
use super::store::{Name, Room, Store};
use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::log::Log;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::kept::Kept;

/// What was in the store.
#[derive(Default)]
pub(crate) struct Stored {
    journals: Named,
    objects: Named,
    /// What was to see whether there is room.
    probes: Vec<OwnedFd>,
}

/// What has each number in its name: one, unless somebody else has stored things here too.
type Named = BTreeMap<u64, Vec<OwnedFd>>;

impl Stored {
    /// Takes a descriptor that was passed under this name, or returns it if it is none of the store's.
    pub(crate) fn take(&mut self, name: &str, descriptor: OwnedFd) -> Result<(), OwnedFd> {
        let of_its_name = match name.parse() {
            Ok(Name::Journal(number)) => self.journals.entry(number).or_default(),
            Ok(Name::Object(ObjectNumber(number))) => self.objects.entry(number).or_default(),
            Ok(Name::Probe) => &mut self.probes,
            Err(()) => return Err(descriptor),
        };
        of_its_name.push(descriptor);
        Ok(())
    }
}

/// All that comes back.
#[derive(Default)]
pub(crate) struct Returned {
    pub(crate) deposits: Vec<Resumed>,
    pub(crate) owners: Vec<Owner>,
    pub(crate) leases: Vec<ReturnedLease>,
    /// Whether there is more in the journal than came back, or was chosen from there.
    pub(crate) has_losses: bool,
}

/// The owner of a tag, which lives still.
pub(crate) struct Owner {
    pub(crate) tag: Tag,
    pub(crate) pid: i32,
    pub(crate) process: PeerFd,
}

/// A deposit that comes back.
pub(crate) struct Resumed {
    add: Add<PeerFd>,
    mirrored: Mirrored,
}

/// Where it is: in the store, and in the journal.
pub(crate) struct Mirrored {
    number: Option<ObjectNumber>,
    at: At,
}

impl Resumed {
    /// The deposit, and where it is.
    pub(crate) fn into_parts(self) -> (Add<PeerFd>, Mirrored) {
        (self.add, self.mirrored)
    }
}

impl Mirror {
    /// Goes on from what was stored; returns what comes back. To be called within the event loop's
    /// runtime, and once.
    ///
    /// # Errors
    /// When the service manager cannot be reached, or there is no memory. It keeps what it has.
    pub(crate) fn resume(
        &mut self,
        stored: Stored,
        close_queue: &CloseQueue,
        log: &Rc<Log>,
    ) -> io::Result<Returned> {
        let Some(store) = Store::connect()? else { return Ok(Returned::default()) };
        let (state, returned) = stored.resume(close_queue, log)?;
        self.begin(state, store, Rc::clone(log));
        Ok(returned)
    }

    /// Enters a deposit that came back.
    pub(crate) fn enter(&self, kept: &Rc<Kept>, mirrored: Mirrored) {
        let Mirrored { number, at } = mirrored;
        self.change(|state| {
            state.enter(kept, number, at);
            Ok(())
        });
    }
}

impl Stored {
    pub(super) fn resume(
        mut self,
        close_queue: &CloseQueue,
        log: &Log,
    ) -> io::Result<(State, Returned)> {
        let last = self.objects.last_key_value().map(|(last, _)| ObjectNumber(*last));
        let (mut state, mut entries, damage) = self.state(close_queue, log)?;
        last.into_iter().for_each(|last| state.objects.skip(last));
        let with_former = entries.choose(|object| self.object(object).is_some());
        let Entries { deposits, owners, leases, .. } = entries;
        let all = deposits.len() + owners.len() + leases.len();
        let mut uses = uses(&deposits, &leases);
        let (deposits, lost) = self.deposits(deposits, &mut uses, close_queue);
        state.lost_at_start += lost.len();
        if state.resumes() {
            tell_restored(deposits.len(), &lost, log);
        }
        let leases = self.leases(leases, &mut uses, close_queue, log);
        let owners = self::owners(owners, close_queue, log);
        let has_losses = with_former > 0
            || damage.is_some()
            || deposits.len() + owners.len() + leases.len() < all;
        let unnamed = self.discard(&mut state, close_queue);
        if let Some(damage) = damage {
            state.lost_at_start += unnamed;
            log.error(&format!(
                "{damage}; descriptors that no entry names, and are closed: {unnamed}"
            ));
        }
        if !self.probes.is_empty() {
            state.orders.push(None, Order::Remove(Name::Probe));
        }
        self.probes.into_iter().for_each(|one| drop(close_queue.hold(Depositor::Nobody, one)));
        Ok((state, Returned { deposits, owners, leases, has_losses }))
    }

    /// Goes on with the newest journal of those that can be read, or begins one. Returns also what it has, and what is
    /// wrong with it.
    fn state(
        &mut self,
        close_queue: &CloseQueue,
        log: &Log,
    ) -> io::Result<(State, Entries, Option<String>)> {
        let numbers: Vec<_> = self.journals.keys().copied().collect();
        let journals = std::mem::take(&mut self.journals);
        let Journals { opened, unreadable } = Journals::open(journals, close_queue);
        let (number, mut state, entries) = match opened {
            Some((number, (state, entries))) => (Some(number), state, entries),
            None => {
                (None, self.begin(&numbers, &unreadable, close_queue, log)?, Entries::default())
            }
        };
        // In this order: until a new one is there, the old ones count.
        for other in numbers.into_iter().filter(|other| Some(*other) != number) {
            state.orders.push(None, Order::Remove(Name::Journal(other)));
        }
        let damage = number.and_then(|number| tell_journals(number, &unreadable, &entries, log));
        state.was_damaged = damage.is_some() || number.is_none() && !unreadable.is_empty();
        Ok((state, entries, damage))
    }

    /// Begins a journal, since none of these can be read.
    fn begin(
        &mut self,
        numbers: &[u64],
        unreadable: &[Unreadable],
        close_queue: &CloseQueue,
        log: &Log,
    ) -> io::Result<State> {
        let newest = numbers.last().copied().unwrap_or(0);
        let mut state = State::begin_unsent(newest + 1, Room::told())?;
        state.lost_at_start = self.discard(&mut state, close_queue);
        tell_without_journal(state.lost_at_start, unreadable, log);
        // Behind what is removed, which may take all the room that there is.
        state.send_journal()?;
        Ok(state)
    }

    /// Closes what nothing in a journal names, and has it removed. Returns how much that is.
    fn discard(&mut self, state: &mut State, close_queue: &CloseQueue) -> usize {
        let objects = std::mem::take(&mut self.objects);
        let count = objects.len();
        for (number, objects) in objects {
            for object in objects {
                drop(close_queue.hold(Depositor::Nobody, object));
            }
            state.orders.push(None, Order::Remove(Name::Object(ObjectNumber(number))));
        }
        count
    }

    /// The deposits that come back, and the slots of those that do not.
    fn deposits(
        &mut self,
        entries: BTreeMap<Slot, JournalEntry>,
        uses: &mut Uses,
        close_queue: &CloseQueue,
    ) -> (Vec<Resumed>, Vec<Slot>) {
        let (mut resumed, mut lost) = (Vec::new(), Vec::new());
        for entry in entries.into_values() {
            match self.descriptor(entry.object, uses) {
                Some(descriptor) => resumed.push(entry.with(descriptor, close_queue)),
                None => lost.push(entry.slot),
            }
        }
        (resumed, lost)
    }

    fn leases(
        &mut self,
        leases: BTreeMap<u64, (Leased, ObjectNumber)>,
        uses: &mut Uses,
        close_queue: &CloseQueue,
        log: &Log,
    ) -> Vec<ReturnedLease> {
        let all = leases.len();
        let returned = |(leased, object): (Leased, ObjectNumber)| {
            let connection = self.descriptor(Some(object), uses)??;
            let connection = close_queue.hold(Depositor::Nobody, connection);
            Some(ReturnedLease { leased, connection, object })
        };
        let returned: Vec<_> = leases.into_values().filter_map(returned).collect();
        if all > 0 {
            log.info(&format!(
                "leases restored from the service manager's store: {}; forgotten, since their \
                 connections were not there yet: {}",
                returned.len(),
                all - returned.len()
            ));
        }
        returned
    }

    /// An object, unless several have its name: nothing says which is meant.
    fn object(&self, number: ObjectNumber) -> Option<&OwnedFd> {
        match self.objects.get(&number.0)?.as_slice() {
            [object] => Some(object),
            _ => None,
        }
    }

    /// A deposit's descriptor, where it has one: a duplicate, but for the last that has it. `None` if it is
    /// not there.
    fn descriptor(
        &mut self,
        number: Option<ObjectNumber>,
        uses: &mut Uses,
    ) -> Option<Option<OwnedFd>> {
        let Some(number) = number else { return Some(None) };
        let (left, object) = (uses.get_mut(&number)?, self.object(number)?);
        *left -= 1;
        if *left > 0 {
            return object.try_clone().ok().map(Some);
        }
        self.objects.remove(&number.0)?.pop().map(Some)
    }
}

/// How many deposits and leases have each.
type Uses = BTreeMap<ObjectNumber, usize>;

fn uses(
    deposits: &BTreeMap<Slot, JournalEntry>,
    leases: &BTreeMap<u64, (Leased, ObjectNumber)>,
) -> Uses {
    let mut uses = Uses::new();
    let of_deposits = deposits.values().filter_map(|entry| entry.object);
    let of_leases = leases.values().map(|(_, object)| *object);
    of_deposits.chain(of_leases).for_each(|object| *uses.entry(object).or_default() += 1);
    uses
}

/// Those of which is known that they are the same.
fn owners(
    owners: BTreeMap<Tag, ProcessIdentity>,
    close_queue: &CloseQueue,
    log: &Log,
) -> Vec<Owner> {
    let all = owners.len();
    let owner = |(tag, identity): (Tag, ProcessIdentity)| {
        let process = close_queue.hold(Depositor::Nobody, identity.open()?);
        Some(Owner { tag, pid: identity.pid, process })
    };
    let live: Vec<_> = owners.into_iter().filter_map(owner).collect();
    if all > 0 {
        log.info(&format!(
            "owners of tags restored: {}; not restored, since their processes have ended or \
             cannot be told from others: {}",
            live.len(),
            all - live.len()
        ));
    }
    live
}

impl JournalEntry {
    fn with(self, descriptor: Option<OwnedFd>, close_queue: &CloseQueue) -> Resumed {
        let Self { slot, ufd, object: number, payload, at, .. } = self;
        // Whose it is, is seen when it is entered.
        let descriptor =
            descriptor.map(|descriptor| close_queue.hold(Depositor::Nobody, descriptor));
        let add = Add { slot, ufd, payload, descriptor };
        Resumed { add, mirrored: Mirrored { number, at } }
    }
}

#[cfg(test)]
mod tests;
