//! How the service manager is told of changes, batch by batch, and what is said when it does not take them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::orders::Order;
use super::state::State;
use super::store::{Name, Probe, Store};
use super::waiting::Waiting;
use crate::log::Log;

/// How much is sent at most before the service manager's answer is awaited; half as much after one that took long.
const BATCH: usize = 64;
/// What takes long, and what does not.
const LONG: Duration = Duration::from_millis(50);
const SHORT: Duration = Duration::from_millis(10);
const KEEPS_NOTHING: &str = "the service manager keeps no descriptors of this unit: nothing outlives the broker; set \
     FileDescriptorStoreMax=16384 in the unit, as the packaged one does, and restart the broker";
/// How long a store that was full is left alone before one more is tried.
const TRY_AGAIN: Duration = Duration::from_secs(10);
const HAS_ROOM: &str = "the service manager's store of descriptors has room again";
const FULL: &str = "the service manager's store of descriptors is full: deposits beyond that are lost when the \
     broker ends; raise FileDescriptorStoreMax= of the unit; `fdbroker list` marks them";

/// What the mirror and the loop that sends share.
pub(super) struct Shared {
    pub(super) state: RefCell<State>,
    pub(super) news: Notify,
    store: Store,
    pub(super) log: Rc<Log>,
    /// How much is sent before the service manager's answer is awaited.
    batch: Cell<usize>,
    /// Whether something was sent that the service manager may not have read.
    unread: Cell<bool>,
    /// Who waits until a change outlives the broker.
    pub(super) waiting: RefCell<Waiting>,
    /// Some of them may wait no longer.
    pub(super) settled: Notify,
    /// Whether it has been said that the journal cannot be written.
    short: Cell<bool>,
    /// Whether it has been said that the service manager takes nothing.
    trouble: Cell<bool>,
    /// When one more is tried in a store that was full.
    next_trial: Cell<Instant>,
    /// Whether the service manager keeps nothing.
    pub(super) is_void: Cell<bool>,
}

impl Shared {
    pub(super) fn new(state: State, store: Store, log: Rc<Log>) -> Self {
        let [unread, short, trouble, is_void] = [(); 4].map(|()| Cell::new(false));
        let (state, waiting) = (RefCell::new(state), RefCell::default());
        let (news, settled) = (Notify::new(), Notify::new());
        let (batch, next_trial) = (Cell::new(BATCH), Cell::new(Instant::now()));
        Self {
            state,
            news,
            store,
            log,
            batch,
            unread,
            waiting,
            settled,
            short,
            trouble,
            next_trial,
            is_void,
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State) -> io::Result<()>) {
        let changed = self.state.borrow_mut().change(change);
        if changed.is_err() != self.short.replace(changed.is_err()) {
            self.say_whether_written(changed);
        }
        self.news.notify_one();
    }

    /// The more the service manager has, the longer it takes with each.
    pub(super) fn adapt(&self, took: Duration) {
        let batch = self.batch.get();
        if took > LONG {
            self.batch.set((batch / 2).max(1));
        } else if took < SHORT {
            self.batch.set((batch * 2).min(BATCH));
        }
    }

    /// Whether something is to be sent, or to be answered.
    pub(super) fn has_more(&self) -> bool {
        !self.state.borrow().orders.is_empty() || self.unread.get()
    }

    /// Waits until there is news, or until one more is to be tried in a store that was full.
    pub(super) async fn wait_for_news(&self) {
        let news = self.news.notified();
        if !self.is_bounded() {
            return news.await;
        }
        // What there is by then is seen by the caller.
        let _ = timeout_at(self.next_trial.get(), news).await;
    }

    /// Tries one more in a store that was full, if none was tried for a while.
    pub(super) fn try_room(&self) {
        if self.is_bounded() && Instant::now() >= self.next_trial.get() {
            self.put_off_trial();
            self.state.borrow_mut().try_room();
            self.change(|_| Ok(()));
        }
    }

    fn put_off_trial(&self) {
        self.next_trial.set(Instant::now() + TRY_AGAIN);
    }

    fn is_bounded(&self) -> bool {
        self.state.borrow().objects.is_bounded()
    }

    /// Carries out some orders, and says if that does not succeed any more, or again. Returns whether it did.
    pub(super) async fn send_and_say(&self) -> bool {
        let sent = self.send_batch().await;
        let succeeded = sent.is_ok();
        self.say(sent);
        succeeded
    }

    /// Carries out some orders, and waits until the service manager has read that.
    async fn send_batch(&self) -> io::Result<()> {
        let mut gone = Vec::new();
        let sees_room = !self.state.borrow().room().is_told();
        let one_by_one = self.is_bounded();
        for _ in 0..self.batch.get() {
            let Some(order) = self.state.borrow_mut().orders.next() else { break };
            if sees_room && !self.state.borrow_mut().orders.next_goes_with_sent(one_by_one) {
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
                None => self.state.borrow_mut().read(),
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
            if self.state.borrow_mut().accept_last() {
                self.log.info(HAS_ROOM);
            }
        } else if lost_journal {
            self.is_void.set(true);
            self.state.borrow_mut().give_up_all();
            self.log.error(KEEPS_NOTHING);
        } else {
            if !self.is_bounded() {
                self.log.error(FULL);
            }
            self.put_off_trial();
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
