//! The copy of every deposit: what the next worker is given when this one dies.
//!
//! Opaque to the supervisor: a slot, a number, bytes and a descriptor. Only the depositor's uid, in
//! the record before a payload, is read: on whose account a descriptor is closed.

pub(crate) mod aside;
pub(crate) mod counted_slots;
pub(crate) mod kept;
pub(crate) mod mirror;
pub(crate) mod quarantine;
pub(crate) mod takers;
pub(crate) mod unclosed;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use fdbroker_wire::{Add, Slot, Tag};

use self::aside::Aside;
use self::kept::Kept;
use self::mirror::Mirror;
use self::mirror::leased::ReturnedLease;
use self::mirror::resume::{Owner, Returned, Stored};
use self::takers::Takers;
use self::unclosed::Unclosed;
use crate::deposit_record::DepositRecord;
use crate::fd::{CloseQueue, PeerFd, kind};
use crate::log::Log;
use crate::memory::Freed;
use crate::payer::Payers;
use crate::process_identity::ProcessIdentity;
use crate::process_number::is_pidfd;

/// The owner of a tag, as the worker noted it.
pub(crate) struct Note {
    pub(crate) tag: Tag,
    pub(crate) pid: i32,
    pub(crate) process: Rc<PeerFd>,
}

/// All of them.
pub(crate) struct Deposits {
    kept: BTreeMap<Slot, Rc<Kept>>,
    notes: BTreeMap<Tag, Note>,
    /// Owners stay as they are: the broker ends.
    has_last_owners: bool,
    pub(crate) takers: Takers,
    pub(crate) aside: Aside,
    pub(crate) mirror: Mirror,
    /// Told what leaves its slot: until it has been closed, the worker has it on its owner's account.
    unclosed: Unclosed,
    /// Deposits that have left their slots.
    pub(crate) freed: Freed,
}

impl Deposits {
    pub(crate) fn new(unclosed: Unclosed) -> Self {
        let (kept, notes) = (BTreeMap::new(), BTreeMap::new());
        let (takers, aside, freed) = (Takers::new(), Aside::default(), Freed::default());
        let mirror = Mirror::default();
        Self { kept, notes, has_last_owners: false, takers, aside, mirror, unclosed, freed }
    }

    /// Keeps a deposit in the place of what was there. Returns whether it has the record that a
    /// worker needs to restore it; without, nothing is kept.
    /// With `is_strict`, what was there comes back also where the new one cannot.
    pub(crate) fn keep(&mut self, add: Add<PeerFd>, payers: &Payers, is_strict: bool) -> bool {
        let Some(kept) = self.enter(add, payers) else { return false };
        self.mirror.keep(&kept, is_strict);
        true
    }

    /// Goes on from what an earlier supervisor left with the service manager, and mirrors what happens
    /// from now on. Returns the leases that come back, and whether something does not: once the leases are entered, the
    /// mirror is to be told that. To be called within the event loop's runtime.
    ///
    /// # Errors
    /// When the service manager cannot be reached, or there is no memory.
    pub(crate) fn resume(
        &mut self,
        stored: Stored,
        close_queue: &CloseQueue,
        payers: &Payers,
        log: &Rc<Log>,
    ) -> io::Result<(Vec<ReturnedLease>, bool)> {
        let Returned { deposits, owners, leases, has_losses } =
            self.mirror.resume(stored, close_queue, log)?;
        for resumed in deposits {
            let (add, mirrored) = resumed.into_parts();
            if let Some(kept) = self.enter(add, payers) {
                self.mirror.enter(&kept, mirrored);
            }
        }
        for Owner { tag, pid, process } in owners {
            self.note(tag, pid, Some(process));
        }
        Ok((leases, has_losses))
    }

    fn enter(&mut self, add: Add<PeerFd>, payers: &Payers) -> Option<Rc<Kept>> {
        let record = DepositRecord::before(&add.payload)?;
        let payer = payers.of(record.owner);
        let Add { slot, ufd, payload, mut descriptor } = add;
        let leaving = descriptor.as_mut().map(|descriptor| {
            let (notice, leaving) = self.unclosed.deposit(record);
            descriptor.move_to(payer);
            descriptor.keep_until_closed(notice);
            leaving
        });
        self.remove(slot, |replaced| replaced.is_some_and(kind::is_socket_or_device));
        let kept = Rc::new(Kept { slot, payer, ufd, payload, descriptor, leaving });
        self.kept.insert(slot, Rc::clone(&kept));
        Some(kept)
    }

    /// Sets a deposit aside: no worker is given it. Returns whether there was one, and room for it.
    pub(crate) fn set_aside(&mut self, slot: Slot) -> bool {
        self.set_aside_as(slot, false)
    }

    /// The same of one that was set aside before, and that workers may get again if it `is_readmitted`.
    pub(crate) fn set_aside_as(&mut self, slot: Slot, is_readmitted: bool) -> bool {
        if !self.aside.has_room() {
            return false;
        }
        let kept = self.kept.remove(&slot);
        kept.map(|kept| self.aside.add(kept, is_readmitted)).is_some()
    }

    /// Puts what was set aside and readmitted back into slots that are empty: a new worker comes.
    pub(crate) fn give_back(&mut self) {
        let given_back = self.aside.give_back(&mut self.kept);
        given_back.iter().for_each(|kept| self.mirror.keep(kept, false));
    }

    /// Forgets a deposit; whether there was one.
    pub(crate) fn forget(&mut self, slot: Slot) -> bool {
        let kept = self.remove(slot, |_| true);
        kept.iter().for_each(|kept| self.mirror.leave(kept));
        kept.is_some()
    }

    /// Removes a deposit, but not from the mirror; closes its descriptor at once if the worker's answer waits for
    /// that.
    fn remove(
        &mut self,
        slot: Slot,
        soon: impl Fn(Option<BorrowedFd<'_>>) -> bool,
    ) -> Option<Rc<Kept>> {
        self.takers.forget(slot);
        let kept = self.kept.remove(&slot);
        kept.iter().for_each(|_| self.freed.count());
        let descriptor = kept.as_ref().and_then(|kept| kept.descriptor.as_ref());
        let awaited = descriptor.filter(|descriptor| soon(descriptor.descriptor()));
        awaited.into_iter().for_each(PeerFd::close_soon);
        let leaving = kept.as_ref().and_then(|kept| kept.leaving.as_ref());
        leaving.into_iter().for_each(|leaving| self.unclosed.leaves(leaving));
        kept
    }

    /// Notes which process is about to take the deposits of some slots; without `process`, that
    /// nobody takes them. Returns what to log about that.
    pub(crate) fn note_taker(
        &mut self,
        slots: impl Iterator<Item = Slot>,
        pid: i32,
        process: Option<PeerFd>,
    ) -> Option<&'static str> {
        let slots = slots.filter(|slot| self.kept.contains_key(slot));
        match process {
            Some(process) => self.takers.note(slots, pid, process),
            None => {
                slots.for_each(|slot| self.takers.forget(slot));
                None
            }
        }
    }

    /// How many descriptors the next worker is given with them.
    pub(crate) fn descriptors(&self) -> usize {
        let deposits = self.kept.values().filter(|kept| kept.descriptor.is_some()).count();
        deposits + self.notes.len()
    }

    /// The broker ends all connections: that is no reason for anybody to lose a tag.
    pub(crate) fn keep_owners(&mut self) {
        self.has_last_owners = true;
    }

    /// Notes who owns a tag; nobody, when there is no process.
    pub(crate) fn note(&mut self, tag: Tag, pid: i32, process: Option<PeerFd>) {
        if self.has_last_owners {
            return;
        }
        self.mirror.own(tag, || {
            let process = process.as_ref().and_then(PeerFd::descriptor);
            let process = process.filter(|process| is_pidfd(*process));
            ProcessIdentity::of(pid, process?)
        });
        match process {
            Some(process) => {
                self.notes.insert(tag, Note { tag, pid, process: Rc::new(process) });
            }
            None => {
                self.notes.remove(&tag);
            }
        }
    }

    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Rc<Kept>> {
        self.kept.values()
    }

    pub(crate) fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.values()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use fdbroker_policy::Uid;
    use fdbroker_wire::DepositNumber;

    use super::*;
    use crate::deposit_record::Origin;
    use crate::fd::Depositor;

    fn add(slot: Slot, queue: &CloseQueue) -> Add<PeerFd> {
        let end: OwnedFd = std::io::pipe().unwrap().0.into();
        let record = DepositRecord { owner: Uid(7), number: DepositNumber(1) };
        let payload = record.to_bytes(&Origin::default()).into();
        let descriptor = Some(queue.hold(Depositor::Nobody, end));
        Add { slot, ufd: 7, payload, descriptor }
    }

    fn keep(deposits: &mut Deposits, add: Add<PeerFd>) -> bool {
        deposits.keep(add, &Payers::default(), false)
    }

    /// Which deposits are given to workers, by the numbers of their depositors.
    fn given(deposits: &Deposits) -> Vec<i32> {
        deposits.all().map(|kept| kept.ufd).collect()
    }

    #[test]
    fn what_is_set_aside_comes_back_to_an_empty_slot_and_none_is_lost() {
        let (queue, slot) = (CloseQueue::new(), Slot::new(1, 5).unwrap());
        let mut deposits = Deposits::new(Unclosed::default());
        for ufd in [1, 2] {
            assert!(keep(&mut deposits, Add { ufd, ..add(slot, &queue) }));
            assert!(deposits.set_aside(slot));
        }
        assert_eq!(deposits.aside.readmit(), 2);
        assert!(keep(&mut deposits, Add { ufd: 3, ..add(slot, &queue) }));
        let mut came_back = Vec::new();
        for _ in 0..3 {
            deposits.give_back();
            came_back.extend(given(&deposits));
            assert!(deposits.forget(slot));
        }
        assert_eq!(came_back, [3, 1, 2]);
        assert_eq!(deposits.aside.slots().count(), 0);
    }

    #[test]
    fn what_is_set_aside_after_a_reload_waits_for_the_next_one() {
        let (queue, slot) = (CloseQueue::new(), Slot::new(1, 5).unwrap());
        let mut deposits = Deposits::new(Unclosed::default());
        deposits.aside.readmit();
        assert!(keep(&mut deposits, add(slot, &queue)) && deposits.set_aside(slot));
        deposits.give_back();
        assert!(given(&deposits).is_empty());
    }

    #[tokio::test]
    async fn the_worker_is_told_when_what_it_deleted_or_replaced_has_been_closed() {
        let (unclosed, queue, slot) =
            (Unclosed::default(), CloseQueue::new(), Slot::new(1, 5).unwrap());
        let mut deposits = Deposits::new(unclosed.clone());
        assert!(keep(&mut deposits, add(slot, &queue)));
        unclosed.next_worker();
        assert!(keep(&mut deposits, add(slot, &queue)));
        assert!(deposits.forget(slot));
        let mut told = 0;
        while told < 2 {
            queue.batch_closed().await;
            told += unclosed.take().removed.len();
        }
        assert_eq!(told, 2);
    }
}
