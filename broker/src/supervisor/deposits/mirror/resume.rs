//! What an earlier supervisor left in the service manager's store, and how this one goes on from it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::{Add, Slot, Tag};

use super::Mirror;
use super::journal::{At, Entries, JournalEntry};
use super::leased::{Leased, ReturnedLease};
use super::objects::ObjectNumber;
use super::orders::Order;
use super::state::State;
use super::store::{Name, Room, Store};
use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::log::Log;
use crate::process_identity::ProcessIdentity;
use crate::supervisor::deposits::counted_slots::CountedSlots;
use crate::supervisor::deposits::kept::Kept;

/// What was in the store.
#[derive(Default)]
pub(crate) struct Stored {
    journals: BTreeMap<u64, OwnedFd>,
    objects: BTreeMap<u64, OwnedFd>,
    /// What was to see whether there is room.
    probe: Option<OwnedFd>,
    /// What has a name that another one has.
    surplus: Vec<OwnedFd>,
}

impl Stored {
    /// Takes a descriptor that was passed under this name, or returns it if it is none of the store's.
    pub(crate) fn take(&mut self, name: &str, descriptor: OwnedFd) -> Result<(), OwnedFd> {
        let former = match name.parse() {
            Ok(Name::Journal(number)) => self.journals.insert(number, descriptor),
            Ok(Name::Object(ObjectNumber(number))) => self.objects.insert(number, descriptor),
            Ok(Name::Probe) => self.probe.replace(descriptor),
            Err(()) => return Err(descriptor),
        };
        self.surplus.extend(former);
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
        let (mut state, mut entries) = self.state(close_queue, log)?;
        last.into_iter().for_each(|last| state.objects.skip(last));
        let with_former = entries.choose(|object| self.objects.contains_key(&object.0));
        let Entries { deposits, owners, leases } = entries;
        let all = deposits.len() + owners.len() + leases.len();
        let mut uses = uses(&deposits, &leases);
        let (deposits, lost) = self.deposits(deposits, &mut uses, close_queue);
        state.lost_at_start += lost.len();
        if state.resumes() {
            tell_restored(deposits.len(), &lost, log);
        }
        let leases = self.leases(leases, &mut uses, close_queue, log);
        let owners = self::owners(owners, close_queue, log);
        let has_losses = with_former > 0 || deposits.len() + owners.len() + leases.len() < all;
        // What nothing in the journal names.
        self.discard(&mut state, close_queue);
        if self.probe.is_some() {
            state.orders.push(None, Order::Remove(Name::Probe));
        }
        self.surplus.extend(self.probe);
        self.surplus.into_iter().for_each(|one| drop(close_queue.hold(Depositor::Nobody, one)));
        Ok((state, Returned { deposits, owners, leases, has_losses }))
    }

    /// Goes on with the newest journal, or begins one where there is none that can be read.
    fn state(&mut self, close_queue: &CloseQueue, log: &Log) -> io::Result<(State, Entries)> {
        let newest = self.journals.pop_last();
        let number = newest.as_ref().map_or(0, |(number, _)| *number);
        let room = Room::told();
        let opened = newest.map(|(number, memory)| State::open(memory, number, room));
        let (mut state, entries) = match opened {
            Some(Ok(opened)) => opened,
            opened => {
                let mut state = State::begin_unsent(number + 1, room)?;
                state.lost_at_start = self.discard(&mut state, close_queue);
                tell_without_journal(state.lost_at_start, opened.as_ref(), log);
                // Behind what is removed, which may take all the room that there is.
                state.send_journal()?;
                if opened.is_some() {
                    // In this order: until the new one is there, the old one counts.
                    state.orders.push(None, Order::Remove(Name::Journal(number)));
                }
                (state, Entries::default())
            }
        };
        for number in self.journals.keys() {
            state.orders.push(None, Order::Remove(Name::Journal(*number)));
        }
        Ok((state, entries))
    }

    /// Closes what nothing in a journal names, and has it removed. Returns how much that is.
    fn discard(&mut self, state: &mut State, close_queue: &CloseQueue) -> usize {
        let objects = std::mem::take(&mut self.objects);
        let count = objects.len();
        for (number, object) in objects {
            drop(close_queue.hold(Depositor::Nobody, object));
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

    /// A deposit's descriptor, where it has one: a duplicate, but for the last that has it. `None` if it is
    /// not there.
    fn descriptor(
        &mut self,
        number: Option<ObjectNumber>,
        uses: &mut Uses,
    ) -> Option<Option<OwnedFd>> {
        let Some(number) = number else { return Some(None) };
        let left = uses.get_mut(&number)?;
        *left -= 1;
        if *left == 0 {
            return self.objects.remove(&number.0).map(Some);
        }
        self.objects.get(&number.0)?.try_clone().ok().map(Some)
    }
}

/// What the last broker had beyond its journal is known to nobody: nothing is said of how much that was.
fn tell_restored(restored: usize, lost: &[Slot], log: &Log) {
    let said = format!(
        "deposits restored from the service manager's store: {restored}; lost, since their \
         descriptors are not there, or cannot be duplicated: {}; deposits that only the last broker \
         had (here-only) are lost too, and no journal names them",
        CountedSlots(lost)
    );
    if lost.is_empty() { log.info(&said) } else { log.error(&said) }
}

/// Descriptors came back, and nothing says whose they are.
fn tell_without_journal<T>(discarded: usize, opened: Option<&Result<T, String>>, log: &Log) {
    if let Some(Err(problem)) = opened {
        log.error(&format!(
            "the journal of the deposits {problem}; what the last broker had is lost; descriptors \
             that came back without it, and are closed: {discarded}"
        ));
    } else if discarded > 0 {
        log.error(&format!(
            "descriptors that came back from the service manager's store without the journal of \
             the deposits, and are closed: {discarded}; what the last broker had is lost: the \
             service manager keeps fewer than it did; raise FileDescriptorStoreMax= of the unit, \
             run systemctl daemon-reload, and deposit again"
        ));
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
mod tests {
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::super::journal::{Journal, Record};
    use super::*;
    use crate::log::Format;
    use crate::payer::Payer;

    fn pipe() -> OwnedFd {
        std::io::pipe().unwrap().0.into()
    }

    /// A journal that has a deposit in this slot, which names this object.
    fn journal(index: i32, object: Option<u64>) -> OwnedFd {
        let mut journal = Journal::begin().unwrap();
        let slot = Slot::new(1, index).unwrap();
        let (payer, payload) = (Payer::named(7), b"payload"[..].into());
        let kept = Kept { slot, payer, ufd: 3, payload, descriptor: None, leaving: None };
        journal.append(&Record::Kept(&kept, object.map(ObjectNumber))).unwrap();
        journal.share().unwrap()
    }

    fn garbled() -> OwnedFd {
        let memory = memfd_create(c"garbled", MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&memory, &[0x5a; 4096]).unwrap();
        memory
    }

    /// What comes back of it: deposits, and what the service manager is told.
    fn resumed(left: Vec<(&str, OwnedFd)>) -> (Vec<i32>, Vec<String>) {
        let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
        for (name, descriptor) in left {
            assert!(stored.take(name, descriptor).is_ok(), "{name}");
        }
        let (mut state, returned) = stored.resume(&CloseQueue::new(), &log).unwrap();
        let told = std::iter::from_fn(|| {
            let told = match state.orders.next()? {
                Order::Put(name, _) => format!("+{name}"),
                Order::Remove(name) => format!("-{name}"),
            };
            state.sent();
            Some(told)
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        let deposits = returned.deposits.into_iter();
        (deposits.map(|resumed| resumed.into_parts().0.slot.index.get()).collect(), told)
    }

    #[test]
    fn what_is_no_journal_and_what_none_names_is_removed_and_does_no_harm() {
        let left = vec![("j5", garbled()), ("o7", pipe()), ("o7", pipe()), ("p", pipe())];
        let told = ["+j6", "-j5", "-o7", "-p"].map(str::to_owned).to_vec();
        assert_eq!(resumed(left), (vec![], told));
        // What is no memory at all.
        let told = ["+j6", "-j5"].map(str::to_owned).to_vec();
        assert_eq!(resumed(vec![("j5", pipe())]), (vec![], told));
    }

    /// Starts with a journal that has deposits; returns how many came back.
    fn start_with(journal: &Journal) -> usize {
        let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
        assert!(stored.take("j1", journal.share().unwrap()).is_ok());
        let (mut state, returned) = stored.resume(&CloseQueue::new(), &log).unwrap();
        let count = returned.deposits.len();
        for resumed in returned.deposits {
            let (Add { slot, ufd, payload, .. }, Mirrored { number, at }) = resumed.into_parts();
            let (payer, descriptor, leaving) = (Payer::named(7), None, None);
            let kept = Rc::new(Kept { slot, payer, ufd, payload, descriptor, leaving });
            let entered = state.change(|state| {
                state.enter(&kept, number, at);
                Ok(())
            });
            entered.unwrap();
        }
        let resumed = state.change(|state| {
            state.resumed(returned.has_losses);
            Ok(())
        });
        resumed.unwrap();
        count
    }

    #[test]
    fn a_long_journal_comes_back_as_a_whole_at_each_start() {
        let mut journal = Journal::begin().unwrap();
        // More than what is not tidied.
        for index in 0..100 {
            let slot = Slot::new(1, index).unwrap();
            let (payer, payload) = (Payer::named(7), vec![1; 1 << 14].into());
            let kept = Kept { slot, payer, ufd: -1, payload, descriptor: None, leaving: None };
            journal.append(&Record::Kept(&kept, None)).unwrap();
        }
        assert_eq!([(); 3].map(|()| start_with(&journal)), [100; 3]);
    }

    #[test]
    fn the_newest_journal_counts_and_others_are_removed() {
        let left = vec![("j3", journal(3, None)), ("j4", journal(4, Some(1))), ("o1", pipe())];
        assert_eq!(resumed(left), (vec![4], vec!["-j3".to_owned()]));
    }

    #[test]
    fn what_came_without_a_journal_makes_room_for_one_and_is_counted() {
        let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
        for name in ["o3", "o4", "p"] {
            assert!(stored.take(name, pipe()).is_ok(), "{name}");
        }
        let (mut state, _) = stored.resume(&CloseQueue::new(), &log).unwrap();
        assert_eq!(state.lost_at_start, 2);
        for name in [3, 4].map(|number| Name::Object(ObjectNumber(number))) {
            assert!(matches!(state.orders.next(), Some(Order::Remove(removed)) if removed == name));
            state.sent();
        }
        assert!(matches!(state.orders.next(), Some(Order::Put(Name::Journal(1), _))));
    }

    #[test]
    fn a_deposit_whose_descriptor_is_not_there_is_lost_and_counted() {
        let (mut stored, log) = (Stored::default(), Log::open(Format::Text).unwrap());
        assert!(stored.take("j4", journal(4, Some(2))).is_ok());
        let (state, _) = stored.resume(&CloseQueue::new(), &log).unwrap();
        assert_eq!(state.lost_at_start, 1);
    }

    #[test]
    fn a_deposit_whose_descriptor_is_not_there_does_not_come_back() {
        let left = vec![("j4", journal(4, Some(2))), ("o1", pipe())];
        assert_eq!(resumed(left), (vec![], vec!["-o1".to_owned()]));
    }

    #[test]
    fn what_has_no_name_of_ours_is_left_to_others() {
        let mut stored = Stored::default();
        for name in ["fdbrokerd.socket", "stored", "o", "j-1", "o01"] {
            assert!(stored.take(name, pipe()).is_err(), "{name}");
        }
    }
}
