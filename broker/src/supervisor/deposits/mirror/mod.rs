//! The mirror of the deposits in the service manager's store: what the next supervisor begins with when this
//! one ends, however it ends.
//!
//! A [`journal`] says what is kept, and each open file description is stored beside it. The journal is
//! written at once; descriptors are sent to the service manager behind the acknowledgement, and it is left to rest in
//! between. What leaves its slot is closed here only when the service manager has let it go: so it is this
//! process' threads that a close(2) which sleeps keeps busy, on its depositor's account.
//!
//! Only what can do the service manager no harm is stored: see [`storable`].

mod content;
#[cfg(test)]
mod cost;
mod journal;
pub(crate) mod leased;
mod objects;
mod orders;
mod positions;
pub(crate) mod resume;
mod state;
mod storable;
mod store;
mod waiting;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::{Errno, Payload, Slot, Tag};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use self::leased::{Leased, ReturnedLease};
use self::orders::Order;
use self::state::State;
use self::store::{Name, Probe, Store};
use self::waiting::{Told, Waiting};
use super::kept::Kept;
use crate::fd::{Depositor, PeerFd};
use crate::log::Log;
use crate::payer::Payer;
use crate::process_identity::ProcessIdentity;

/// How much is sent at most before the service manager's answer is awaited; half as much after one that took long.
const BATCH: usize = 64;
/// What takes long, and what does not.
const LONG: Duration = Duration::from_millis(50);
const SHORT: Duration = Duration::from_millis(10);
/// How many times as long as the service manager took to read a batch nothing is sent then: it has other things to do,
/// and each descriptor is compared with all that it has.
const REST: u32 = 3;
/// The longest such pause.
const LONG_REST: Duration = Duration::from_secs(5);
/// How long a broker that ends waits until the service manager has everything.
const CATCHING_UP: Duration = Duration::from_secs(3);
/// The pause before something is sent again that the service manager did not take.
const AGAIN: Duration = Duration::from_secs(1);

const KEEPS_NOTHING: &str = "the service manager keeps no descriptors of this unit: nothing outlives the broker; set \
     FileDescriptorStoreMax=16384 in the unit, as the packaged one does, and restart the broker";
const VOID: &str = "the service manager keeps no descriptors of this unit";
const FULL: &str = "the service manager's store of descriptors is full: deposits beyond that are lost when the \
     broker ends; raise FileDescriptorStoreMax= of the unit; `fdbroker list` marks them";

/// Why nothing outlives the broker.
pub(crate) const NO_MIRROR: &str =
    "no service manager that keeps descriptors started the broker (NOTIFY_SOCKET)";

/// The mirror; nothing, where no service manager started the broker.
#[derive(Clone, Default)]
pub(crate) struct Mirror(Option<Rc<Shared>>);

struct Shared {
    state: RefCell<State>,
    news: Notify,
    store: Store,
    log: Rc<Log>,
    /// How much is sent before the service manager's answer is awaited.
    batch: Cell<usize>,
    /// Whether something was sent that the service manager may not have read.
    unread: Cell<bool>,
    /// Who waits until a change outlives the broker.
    waiting: RefCell<Waiting>,
    /// Some of them may wait no longer.
    settled: Notify,
    /// Whether it has been said that the journal cannot be written.
    short: Cell<bool>,
    /// Whether it has been said that the service manager takes nothing.
    trouble: Cell<bool>,
    /// Whether the service manager keeps nothing.
    is_void: Cell<bool>,
}

/// What is to be seen of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// Deposits that come back.
    pub(crate) deposits: usize,
    /// Those that do not: no kind that is stored, or beyond the limit.
    pub(crate) left_out: usize,
    /// What the service manager has not been told of yet.
    pub(crate) waiting: usize,
    /// Whether the store is full.
    pub(crate) is_full: bool,
}

impl Mirror {
    /// A deposit is kept, in a slot that was empty.
    pub(crate) fn keep(&self, kept: &Rc<Kept>) {
        self.change(|state| state.keep(kept));
    }

    /// A deposit leaves its slot.
    pub(crate) fn leave(&self, kept: &Rc<Kept>) {
        self.change(|state| state.leave(kept));
    }

    /// A tag has another owner; nobody, where that is no process that can be told from others.
    pub(crate) fn own(&self, tag: Tag, owner: impl FnOnce() -> Option<ProcessIdentity>) {
        self.change(|state| state.own(tag, owner()));
    }

    /// A lease of a connection has begun. `connection` is a duplicate of it.
    pub(crate) fn lease(&self, leased: Leased, payer: Payer, connection: PeerFd) {
        let connection = lease_connection(&leased, payer, connection);
        self.change(|state| state.lease(leased, connection));
    }

    /// The same of one that came back.
    pub(crate) fn lease_again(
        &self,
        returned: ReturnedLease,
        payer: Payer,
        until_closed: impl Send + Sync + 'static,
    ) {
        let ReturnedLease { leased, mut connection, object } = returned;
        connection.move_to(Depositor::Opened(payer));
        connection.keep_until_closed(until_closed);
        let connection = lease_connection(&leased, payer, connection);
        self.change(|state| state.lease_again(leased, connection, object));
    }

    /// Whether the next broker has a lease, as far as this one knows.
    pub(crate) fn has_lease(&self, number: u64) -> bool {
        self.shared().is_some_and(|shared| shared.state.borrow().has_lease(number))
    }

    /// A lease has ended.
    pub(crate) fn end_lease(&self, number: u64) {
        self.change(|state| state.end_lease(number));
    }

    /// A worker asks, with this ticket, when the last change of a slot outlives the broker.
    pub(crate) fn wait(&self, ticket: u32, slot: Slot) {
        let Some(shared) = self.shared() else { return };
        shared.waiting.borrow_mut().add(ticket, slot);
        shared.settled.notify_one();
    }

    /// Waits until there may be answers to that. Can be dropped.
    pub(crate) async fn settled(&self) {
        match &self.0 {
            Some(shared) => shared.settled.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the answers that there are.
    pub(crate) fn answers(&self) -> Vec<(u32, Told)> {
        let Some(shared) = &self.0 else { return Vec::new() };
        let state = shared.state.borrow();
        shared.waiting.borrow_mut().answers(|slot| match shared.is_void.get() {
            true => Err((Errno::OPNOTSUPP, VOID)),
            false => state.outlives(slot),
        })
    }

    /// The worker that asked has gone.
    pub(crate) fn forget_waiting(&self) {
        self.0.iter().for_each(|shared| drop(shared.waiting.take()));
    }

    /// Whether there is one.
    pub(crate) fn is_there(&self) -> bool {
        self.shared().is_some()
    }

    /// The slots of which it has nothing. `None` if there is no mirror.
    pub(crate) fn left_out(&self) -> Option<Vec<Slot>> {
        Some(self.shared()?.state.borrow().left_out().collect())
    }

    /// The same of some slots; none, if there is no mirror.
    pub(crate) fn left_out_of(&self, slots: RangeInclusive<Slot>) -> Vec<Slot> {
        let Some(shared) = self.shared() else { return Vec::new() };
        shared.state.borrow().left_out_of(slots)
    }

    /// What is to be seen of it, where there is one.
    pub(crate) fn seen(&self) -> Option<Seen> {
        let state = self.shared()?.state.borrow();
        let (deposits, left_out) = state.count();
        Some(Seen { deposits, left_out, waiting: state.orders.len(), is_full: state.is_full })
    }

    /// Sends the service manager what changes, for ever.
    pub(crate) async fn keep_up(&self) -> Infallible {
        let Some(shared) = &self.0 else { return std::future::pending().await };
        loop {
            if !shared.has_more() {
                shared.news.notified().await;
                continue;
            }
            let began = Instant::now();
            let sent = shared.send_and_say().await;
            let took = began.elapsed();
            shared.adapt(took);
            let rest = took.saturating_mul(REST).min(LONG_REST);
            tokio::time::sleep(if sent { rest } else { AGAIN }).await;
        }
    }

    /// Sends what has still to be sent, and waits until the service manager has read it.
    pub(crate) async fn catch_up(&self) {
        let Some(shared) = self.shared() else { return };
        let all = async { while shared.has_more() && shared.send_and_say().await {} };
        // What is not done by then is said below.
        let _ = timeout(CATCHING_UP, all).await;
        let unsent = shared.state.borrow().orders.len();
        if unsent > 0 {
            shared.log.error(&format!(
                "changes that the service manager did not take before the broker ended: {unsent}; \
                 some deposits are lost, or come back although they were deleted"
            ));
        }
    }

    /// All that came back has been entered. What did not come back must be in the journal no more.
    pub(crate) fn resumed(&self, has_losses: bool) {
        self.change(|state| {
            state.resumed(has_losses);
            Ok(())
        });
    }

    fn begin(&mut self, state: State, store: Store, log: Rc<Log>) {
        let [unread, short, trouble, is_void] = [(); 4].map(|()| Cell::new(false));
        let (state, waiting) = (RefCell::new(state), RefCell::default());
        let (news, settled) = (Notify::new(), Notify::new());
        self.0 = Some(Rc::new(Shared {
            state,
            news,
            store,
            log,
            batch: Cell::new(BATCH),
            waiting,
            settled,
            unread,
            short,
            trouble,
            is_void,
        }));
    }

    fn change(&self, change: impl FnOnce(&mut State) -> io::Result<()>) {
        if let Some(shared) = self.shared() {
            shared.change(change);
        }
    }

    /// It, unless the service manager keeps nothing.
    fn shared(&self) -> Option<&Rc<Shared>> {
        self.0.as_ref().filter(|shared| !shared.is_void.get())
    }
}

/// A connection that is held on terms, as something that is stored.
fn lease_connection(leased: &Leased, payer: Payer, connection: PeerFd) -> Rc<Kept> {
    let (slot, payload, descriptor) = (leased.slot, Payload::default(), Some(connection));
    Rc::new(Kept { slot, payer, ufd: -1, payload, descriptor, leaving: None })
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State) -> io::Result<()>) {
        let changed = self.state.borrow_mut().change(change);
        if changed.is_err() != self.short.replace(changed.is_err()) {
            self.say_whether_written(changed);
        }
        self.news.notify_one();
    }

    /// The more the service manager has, the longer it takes with each.
    fn adapt(&self, took: Duration) {
        let batch = self.batch.get();
        if took > LONG {
            self.batch.set((batch / 2).max(1));
        } else if took < SHORT {
            self.batch.set((batch * 2).min(BATCH));
        }
    }

    /// Whether something is to be sent, or to be answered.
    fn has_more(&self) -> bool {
        !self.state.borrow().orders.is_empty() || self.unread.get()
    }

    /// Carries out some orders, and says if that does not succeed any more, or again. Returns whether it did.
    async fn send_and_say(&self) -> bool {
        let sent = self.send_batch().await;
        let succeeded = sent.is_ok();
        self.say(sent);
        succeeded
    }

    /// Carries out some orders, and waits until the service manager has read that.
    async fn send_batch(&self) -> io::Result<()> {
        let mut gone = Vec::new();
        let sees_room = !self.state.borrow().room().is_told();
        for _ in 0..self.batch.get() {
            let Some(order) = self.state.borrow_mut().orders.next() else { break };
            if sees_room && !self.state.borrow_mut().orders.next_goes_with_sent() {
                break;
            }
            self.unread.set(true);
            self.send(&order).await?;
            drop(order);
            gone.extend(self.state.borrow_mut().sent());
        }
        if self.trouble.get() {
            // Whether what answers no more ever lets go of them is not known.
            gone.clear();
        }
        if self.unread.get() {
            let stores = self.state.borrow().orders.has_sent_any();
            let probe = if sees_room && stores { Some(self.store.probe().await?) } else { None };
            self.store.barrier().await?;
            self.unread.set(false);
            match probe {
                Some(probe) => self.see_room(&probe).await?,
                None => self.state.borrow_mut().orders.read(),
            }
            self.settled.notify_one();
        }
        // What has left may have made room.
        self.change(|_| Ok(()));
        Ok(())
    }

    /// Sees whether all that was sent was stored.
    async fn see_room(&self, probe: &Probe) -> io::Result<()> {
        let found_room = probe.found_room()?;
        let lost_journal = !found_room && self.state.borrow().has_sent_journal();
        if found_room {
            self.state.borrow_mut().orders.read();
        } else if lost_journal {
            self.is_void.set(true);
            self.state.borrow_mut().give_up_all();
            self.log.error(KEEPS_NOTHING);
        } else {
            if !self.state.borrow().is_full {
                self.log.error(FULL);
            }
            self.change(State::refuse_last);
        }
        self.store.remove(Name::Probe).await
    }

    async fn send(&self, order: &Order) -> io::Result<()> {
        match order {
            Order::Put(name, what) => match what.descriptor() {
                Some(descriptor) => self.store.put(*name, descriptor).await,
                None => Ok(()),
            },
            Order::Remove(name) => self.store.remove(*name).await,
        }
    }

    fn say_whether_written(&self, outcome: io::Result<()>) {
        match outcome {
            Err(error) => self.log.error(&format!(
                "the journal of the deposits cannot be written: {error}; if the supervisor ends \
                 now, newer deposits are lost, and what was deleted comes back; find what takes \
                 the memory"
            )),
            Ok(()) => self.log.info("the journal of the deposits is up to date again"),
        }
    }

    /// Says that it fails, and that it works again, once.
    fn say(&self, outcome: io::Result<()>) {
        let fails = outcome.is_err();
        if fails {
            self.state.borrow_mut().objects.let_go();
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
