//! What an earlier supervisor left in the service manager's store, and how this one goes on from it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use fdbroker_wire::{Add, Slot};

use super::journal::{Entry, Former};
use super::objects::ObjectNumber;
use super::orders::Order;
use super::store::{Name, Store};
use super::{Mirror, Shared, State};
use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::log::Log;
use crate::supervisor::deposits::kept::Kept;

/// What was in the store.
#[derive(Default)]
pub(crate) struct Stored {
    journals: BTreeMap<u64, OwnedFd>,
    objects: BTreeMap<u64, OwnedFd>,
}

impl Stored {
    /// Takes a descriptor that was passed under this name, or returns it if it is none of the store's.
    pub(crate) fn take(&mut self, name: &str, descriptor: OwnedFd) -> Result<(), OwnedFd> {
        let former = match name.parse() {
            Ok(Name::Journal(generation)) => self.journals.insert(generation, descriptor),
            Ok(Name::Object(ObjectNumber(number))) => self.objects.insert(number, descriptor),
            Err(()) => return Err(descriptor),
        };
        former.map_or(Ok(()), Err)
    }
}

/// A deposit that comes back, and what its descriptor is called in the store.
pub(crate) struct Resumed {
    pub(crate) add: Add<PeerFd>,
    number: Option<ObjectNumber>,
}

impl Mirror {
    /// Goes on from what was stored; returns the deposits that come back. To be called within the event loop's
    /// runtime, and once.
    pub(crate) fn resume(
        &mut self,
        stored: Stored,
        close_queue: &CloseQueue,
        log: &Rc<Log>,
    ) -> Vec<Resumed> {
        let store = match Store::connect() {
            Ok(Some(store)) => store,
            Ok(None) => return Vec::new(),
            Err(error) => {
                log.error(&format!(
                    "the service manager cannot be reached: {error}; if the supervisor ends, all \
                     deposits are lost"
                ));
                return Vec::new();
            }
        };
        let former = stored.journals.keys().next_back().copied().unwrap_or(0);
        let mut state = match State::begin(former + 1) {
            Ok(state) => state,
            Err(error) => {
                log.error(&format!("no journal of the deposits can be made: {error}"));
                return Vec::new();
            }
        };
        let names = stored.journals.keys().map(|generation| Name::Journal(*generation));
        let former: Vec<_> = names.collect();
        let resumed = stored.resume(&mut state, close_queue, log);
        // In this order: until the new journal is there, the old one counts.
        former.into_iter().for_each(|name| state.orders.push(None, Order::Remove(name, None)));
        let (state, trouble, unread) = (state.into(), false.into(), false.into());
        let shared = Shared {
            state,
            news: tokio::sync::Notify::new(),
            store,
            log: Rc::clone(log),
            trouble,
            unread,
        };
        self.0 = Some(Rc::new(shared));
        resumed
    }

    /// Enters a deposit that came back.
    pub(crate) fn enter(&self, kept: &Rc<Kept>, resumed: Option<ObjectNumber>) {
        self.change(|state| state.keep(kept, resumed));
    }
}

impl Resumed {
    /// The deposit, and its descriptor's name in the store.
    pub(crate) fn into_parts(self) -> (Add<PeerFd>, Option<ObjectNumber>) {
        (self.add, self.number)
    }
}

impl Stored {
    fn resume(mut self, state: &mut State, close_queue: &CloseQueue, log: &Log) -> Vec<Resumed> {
        if let Some((last, _)) = self.objects.last_key_value() {
            state.objects.skip(ObjectNumber(*last));
        }
        let entries = self.entries(log);
        let mut uses = BTreeMap::new();
        let numbers = entries.values().filter_map(|entry| entry.object);
        numbers.for_each(|number| *uses.entry(number).or_insert(0_usize) += 1);
        let found = entries.into_values().map(|entry| {
            let descriptor = self.descriptor(entry.object, &mut uses)?;
            Some(entry.with(descriptor, close_queue))
        });
        let found: Vec<_> = found.collect();
        let lost = found.iter().filter(|found| found.is_none()).count();
        let resumed: Vec<_> = found.into_iter().flatten().collect();
        // What nothing in the journal names.
        for (number, object) in self.objects {
            drop(close_queue.hold(Depositor::Nobody, object));
            let name = Name::Object(ObjectNumber(number));
            state.orders.push(None, Order::Remove(name, None));
        }
        if !resumed.is_empty() || lost > 0 {
            log.info(&format!(
                "deposits restored from the service manager's store: {}; lost, since it did not \
                 have their descriptors yet: {lost}",
                resumed.len()
            ));
        }
        resumed
    }

    /// What the newest journal has.
    fn entries(&mut self, log: &Log) -> BTreeMap<Slot, Entry> {
        let Some((_, memory)) = self.journals.pop_last() else { return BTreeMap::new() };
        let entries = std::cell::RefCell::new(BTreeMap::new());
        let read = Former::open(File::from(memory)).and_then(|former| {
            former.read(
                |entry| drop(entries.borrow_mut().insert(entry.slot, entry)),
                |slot| drop(entries.borrow_mut().remove(&slot)),
            )
        });
        if let Err(problem) = read {
            log.error(&format!(
                "the journal of the deposits {problem}; deposits of the last broker that are lost with \
                 that are not known; please report this bug"
            ));
        }
        entries.into_inner()
    }

    /// A deposit's descriptor, where it has one: a duplicate, but for the last that has it. `None` if it is
    /// not there.
    fn descriptor(
        &mut self,
        number: Option<ObjectNumber>,
        uses: &mut BTreeMap<ObjectNumber, usize>,
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

impl Entry {
    fn with(self, descriptor: Option<OwnedFd>, close_queue: &CloseQueue) -> Resumed {
        let Self { slot, ufd, object, payload } = self;
        // Whose it is, is seen when it is entered.
        let descriptor =
            descriptor.map(|descriptor| close_queue.hold(Depositor::Nobody, descriptor));
        Resumed { add: Add { slot, ufd, payload, descriptor }, number: object }
    }
}
