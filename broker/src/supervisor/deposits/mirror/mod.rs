//! The mirror of the deposits in the service manager's store: what the next supervisor begins with when this
//! one ends, however it ends.
//!
//! A [`journal`] says what is kept, and each open file description is stored beside it. The journal is
//! written at once; descriptors are sent to the service manager behind the acknowledgement, and as fast as it takes
//! them. What leaves its slot is closed here only when the service manager has let it go: so it is this
//! process' threads that a close(2) which sleeps keeps busy, on its depositor's account.
//!
//! Only what can do the service manager no harm is stored: see [`storable`].

mod journal;
mod objects;
mod orders;
pub(crate) mod resume;
mod storable;
mod store;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::Slot;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::journal::Journal;
use self::objects::{Left, ObjectNumber, Objects};
use self::orders::{Order, Orders, Stored as Storing};
use self::store::{Name, Store};
use super::kept::Kept;
use crate::fd::PeerFd;
use crate::log::Log;

/// How much is sent before the service manager's answer is awaited.
const BATCH: usize = 64;
/// How many times as long as the service manager took to read a batch nothing is sent then: it has other things to do,
/// and each descriptor is compared with all that it has.
const REST: u32 = 3;
/// The longest such pause.
const LONG_REST: Duration = Duration::from_millis(500);
/// How long a broker that ends waits until the service manager has everything.
const CATCHING_UP: Duration = Duration::from_secs(5);
/// The pause before something is sent again that the service manager did not take.
const AGAIN: Duration = Duration::from_secs(1);

/// The mirror; nothing, where no service manager started the broker.
#[derive(Clone, Default)]
pub(crate) struct Mirror(Option<Rc<Shared>>);

struct Shared {
    state: RefCell<State>,
    news: Notify,
    store: Store,
    log: Rc<Log>,
    /// Whether something was sent that the service manager may not have read.
    unread: Cell<bool>,
    /// Whether it has been said that the service manager takes nothing.
    trouble: Cell<bool>,
}

struct State {
    journal: Journal,
    objects: Objects,
    entries: BTreeMap<Slot, Entered>,
    /// Bytes of payload in those that the journal has.
    bytes: usize,
    orders: Orders,
}

/// A deposit, and where it is.
struct Entered {
    kept: Rc<Kept>,
    place: Place,
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

/// What is to be seen of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mirrored {
    /// Deposits that come back.
    pub(crate) deposits: usize,
    /// Those that do not: no kind that is stored, or beyond the limit.
    pub(crate) left_out: usize,
    /// What the service manager has not been told of yet.
    pub(crate) waiting: usize,
}

impl Mirror {
    /// A deposit is kept, in a slot that was empty.
    pub(crate) fn keep(&self, kept: &Rc<Kept>) {
        self.change(|state| state.keep(kept, None));
    }

    /// A deposit leaves its slot.
    pub(crate) fn leave(&self, kept: &Rc<Kept>) {
        self.change(|state| state.leave(kept));
    }

    /// What is to be seen of it, where there is one.
    pub(crate) fn seen(&self) -> Option<Mirrored> {
        let state = self.0.as_ref()?.state.borrow();
        let left_out = state.left_out();
        let deposits = state.entries.len() - left_out;
        Some(Mirrored { deposits, left_out, waiting: state.orders.len() })
    }

    /// Sends the service manager what changes, for ever.
    pub(crate) async fn keep_up(&self) -> Infallible {
        let Some(shared) = &self.0 else { return std::future::pending().await };
        loop {
            if shared.state.borrow().orders.is_empty() {
                shared.news.notified().await;
                continue;
            }
            let began = Instant::now();
            let sent = shared.send_batch().await;
            let rest = began.elapsed().saturating_mul(REST).min(LONG_REST);
            let rest = if sent.is_ok() { rest } else { AGAIN };
            shared.say(sent);
            tokio::time::sleep(rest).await;
        }
    }

    /// Sends what has still to be sent, and waits until the service manager has read it.
    pub(crate) async fn catch_up(&self) {
        let Some(shared) = &self.0 else { return };
        let until = Instant::now() + CATCHING_UP;
        loop {
            let sent = shared.send_batch().await;
            let goes_on = sent.is_ok() && !shared.state.borrow().orders.is_empty();
            shared.say(sent);
            if !goes_on || Instant::now() > until {
                break;
            }
        }
        let unsent = shared.state.borrow().orders.len();
        if unsent > 0 {
            shared.log.error(&format!(
                "changes that the service manager did not take before the broker ended: {unsent}; \
                 some deposits are lost, or come back although they were deleted"
            ));
        }
    }

    fn change(&self, change: impl FnOnce(&mut State) -> io::Result<()>) {
        let Some(shared) = &self.0 else { return };
        let changed = {
            let mut state = shared.state.borrow_mut();
            change(&mut state).and_then(|()| state.tidy()).or_else(|error| {
                shared.log.error(&format!(
                    "the journal of the deposits cannot be written: {error}; it is replaced by another one"
                ));
                state.rewrite()
            })
        };
        if let Err(error) = changed {
            shared.log.error(&format!(
                "the journal of the deposits cannot be replaced: {error}; what the service \
                 manager has is not up to date, and a restart of the broker may restore what has \
                 been deleted; look for what takes the memory"
            ));
        }
        shared.news.notify_one();
    }
}

impl Shared {
    /// Carries out some orders, and waits until the service manager has read that.
    async fn send_batch(&self) -> io::Result<()> {
        let mut gone = Vec::new();
        for _ in 0..BATCH {
            let Some(order) = self.state.borrow_mut().orders.next() else { break };
            self.unread.set(true);
            self.send(&order).await?;
            drop(order);
            if let Some(Order::Remove(_, Some(kept))) = self.state.borrow_mut().orders.done() {
                gone.push(kept);
            }
        }
        if self.trouble.get() {
            // Whether what answers no more ever lets go of them is not known.
            gone.clear();
        }
        if self.unread.get() {
            self.store.barrier().await?;
            self.unread.set(false);
        }
        Ok(())
    }

    async fn send(&self, order: &Order) -> io::Result<()> {
        match order {
            Order::Put(name, what) => match what.descriptor() {
                Some(descriptor) => self.store.put(*name, descriptor).await,
                None => Ok(()),
            },
            Order::Remove(name, _) => self.store.remove(*name).await,
        }
    }

    /// Says that it fails, and that it works again, once.
    fn say(&self, outcome: io::Result<()>) {
        let fails = outcome.is_err();
        if fails {
            self.state.borrow_mut().orders.let_go();
        }
        if self.trouble.replace(fails) == fails {
            return;
        }
        match outcome {
            Err(error) => self.log.error(&format!(
                "the service manager does not take descriptors into its store: {error}; if the \
                 supervisor ends now, deposits that are newer are lost; it is tried again"
            )),
            Ok(()) => {
                self.log.info("the service manager's store of descriptors is up to date again")
            }
        }
    }
}

impl State {
    fn begin(generation: u64) -> io::Result<Self> {
        let (entries, objects, orders) = Default::default();
        let journal = Journal::begin(generation)?;
        let mut state = Self { journal, objects, entries, bytes: 0, orders };
        state.put_journal()?;
        Ok(state)
    }

    fn left_out(&self) -> usize {
        self.entries.values().filter(|entered| entered.place == Place::Here).count()
    }

    /// Enters a deposit; the store has its descriptor under `number`, if there is one.
    fn keep(&mut self, kept: &Rc<Kept>, number: Option<ObjectNumber>) -> io::Result<()> {
        let former = self.entries.get(&kept.slot).map(|entered| Rc::clone(&entered.kept));
        match former {
            Some(former) if Rc::ptr_eq(&former, kept) => return Ok(()),
            // It was set aside, and its slot has another one now.
            Some(former) => self.leave(&former)?,
            None => {}
        }
        let place = self.place(kept, number)?;
        self.entries.insert(kept.slot, Entered { kept: Rc::clone(kept), place });
        if place == Place::Here {
            return Ok(());
        }
        self.bytes += kept.payload.len();
        self.journal.keep(kept, place.number())
    }

    /// Finds a place for a deposit, and has its descriptor sent there.
    fn place(&mut self, kept: &Rc<Kept>, number: Option<ObjectNumber>) -> io::Result<Place> {
        let descriptor = kept.descriptor.as_ref().and_then(PeerFd::descriptor);
        let Some(descriptor) = descriptor else { return Ok(Place::Journal) };
        if !storable::is_storable(descriptor) {
            return Ok(Place::Here);
        }
        // On a kernel that compares no descriptors, a duplicate would be lost without a word.
        let entered = self.objects.add(kept, number);
        let Ok(Some(entered)) = entered else { return Ok(Place::Here) };
        if entered.is_new && number.is_none() {
            let what = Storing::Deposit(Rc::clone(kept));
            self.orders.push(Some(kept.payer), Order::Put(Name::Object(entered.number), what));
        }
        Ok(Place::Store(entered.number))
    }

    fn leave(&mut self, kept: &Rc<Kept>) -> io::Result<()> {
        let entered = self.entries.get(&kept.slot);
        if !entered.is_some_and(|entered| Rc::ptr_eq(&entered.kept, kept)) {
            return Ok(());
        }
        let place = self.entries.remove(&kept.slot).map(|entered| entered.place);
        if place == Some(Place::Here) {
            return Ok(());
        }
        self.bytes -= kept.payload.len();
        // The order does not matter: without its entry in the journal, a stored descriptor is nobody's.
        self.journal.leave(kept.slot)?;
        if let Some(Left { number, payer }) = self.objects.remove(kept)? {
            let (name, account) = (Name::Object(number), Some(payer));
            if !self.orders.withdraw(account, name) {
                self.orders.push(account, Order::Remove(name, Some(Rc::clone(kept))));
            }
        }
        Ok(())
    }

    /// Replaces the journal if most of it is of no use any more.
    fn tidy(&mut self) -> io::Result<()> {
        if self.journal.is_wasteful(self.entries.len(), self.bytes) {
            self.rewrite()
        } else {
            Ok(())
        }
    }

    /// Writes a new journal, and has it take the old one's place.
    fn rewrite(&mut self) -> io::Result<()> {
        let former = self.journal.generation;
        let mut journal = Journal::begin(former + 1)?;
        for Entered { kept, place } in self.entries.values() {
            if *place != Place::Here {
                journal.keep(kept, place.number())?;
            }
        }
        self.journal = journal;
        self.put_journal()?;
        self.orders.push(None, Order::Remove(Name::Journal(former), None));
        Ok(())
    }

    fn put_journal(&mut self) -> io::Result<()> {
        let memory = Rc::new(self.journal.as_fd().try_clone_to_owned()?);
        let journal = Order::Put(Name::Journal(self.journal.generation), Storing::Journal(memory));
        self.orders.push(None, journal);
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
