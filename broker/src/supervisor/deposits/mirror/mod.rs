//! The mirror of the deposits in the service manager's store: what the next supervisor begins with when this
//! one ends, however it ends.
//!
//! A [`journal`] says what is kept, and each open file description is stored beside it. The journal is
//! written at once; descriptors are sent to the service manager behind the acknowledgement, and it is left to rest in
//! between. What leaves its slot is closed here only when the service manager has let it go: so it is this
//! process' threads that a close(2) which sleeps keeps busy, on its depositor's account.
//!
//! Only what can do the service manager no harm is stored: see [`storable`].

mod capacity;
mod content;
#[cfg(test)]
mod cost;
#[cfg(test)]
mod halfway;
mod journal;
mod journals;
pub(crate) mod leased;
mod object_number;
mod object_table;
mod objects;
mod orders;
mod positions;
pub(crate) mod resume;
mod sending;
mod start_report;
mod state;
mod storable;
mod store;
mod waiting;

use std::convert::Infallible;
use std::io;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use fdbroker_wire::{Errno, Payload, Slot, Tag};
use tokio::time::{Instant, timeout};

use self::leased::{Leased, ReturnedLease};
use self::sending::Shared;
use self::state::State;
use self::store::Store;
use self::waiting::Told;
use super::kept::Kept;
use crate::fd::{Depositor, PeerFd};
use crate::log::Log;
use crate::payer::Payer;
use crate::process_identity::ProcessIdentity;

/// How many times as long as the service manager took to read a batch nothing is sent then: it has other things to do,
/// and each descriptor is compared with all that it has.
const REST: u32 = 3;
/// The longest such pause.
const LONG_REST: Duration = Duration::from_secs(5);
/// How long a broker that ends waits until the service manager has everything.
const CATCHING_UP: Duration = Duration::from_secs(3);
/// The pause before something is sent again that the service manager did not take.
const AGAIN: Duration = Duration::from_secs(1);

const VOID: &str = "the service manager keeps no descriptors of this unit";
/// Why nothing outlives the broker.
pub(crate) const NO_MIRROR: &str =
    "no service manager that keeps descriptors started the broker (NOTIFY_SOCKET)";

/// The mirror; nothing, where no service manager started the broker.
#[derive(Clone, Default)]
pub(crate) struct Mirror(Option<Rc<Shared>>);

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
    /// A deposit is kept, in the place of what was there. If that is stored, it comes back until the new one is
    /// stored too; with `is_strict` also where the new one never is.
    pub(crate) fn keep(&self, kept: &Rc<Kept>, is_strict: bool) {
        self.change(|state| state.keep(kept, is_strict));
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
        Some(Seen {
            deposits,
            left_out,
            waiting: state.orders.len(),
            is_full: state.objects.is_full(),
        })
    }

    /// How much of what the last broker had did not come back.
    pub(crate) fn lost_at_start(&self) -> usize {
        self.0.as_ref().map_or(0, |shared| shared.state.borrow().lost_at_start)
    }

    /// Whether a journal that the last broker left could not be read, or not to its end.
    pub(crate) fn was_damaged(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.state.borrow().was_damaged)
    }

    /// Sends the service manager what changes, for ever.
    pub(crate) async fn keep_up(&self) -> Infallible {
        let Some(shared) = &self.0 else { return std::future::pending().await };
        loop {
            shared.try_room();
            if !shared.has_more() {
                shared.wait_for_news().await;
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
        self.0 = Some(Rc::new(Shared::new(state, store, log)));
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
    let (slot, payload, descriptor) = (leased.lease.slot, Payload::default(), Some(connection));
    Rc::new(Kept { slot, payer, ufd: -1, payload, descriptor, leaving: None })
}
