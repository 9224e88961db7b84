//! The worker's end of the socket pair: where deposits are safe from the worker's own death.
//!
//! A deposit counts as kept once the kernel has taken the whole message: it then lies in the
//! supervisor's receive queue, from which nothing that happens to the worker can take it back.
//! So the peer's answer need not wait for the supervisor to wake. The supervisor's own answer is
//! awaited afterwards: it opens the window for more, and tells if the copy could not be kept, for
//! which it is then sent again.
//!
//! What was replaced or deleted stays on its owner's account until the supervisor has closed its
//! copy too, even if this worker is not the one that deleted it: or else what is slow to close would fill
//! the supervisor's descriptor table. Of what it could not keep it has no copy, and closes none.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fdbroker_policy::Uid;
use fdbroker_wire::{Control, Errno, Slot, Tally, add_head, del};
use tokio::sync::{Mutex, MutexGuard, Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::deposit_record;
use crate::fd::PeerFd;
use crate::sys::watch::Watched;
use crate::transmit::{RETRY, too_many_in_flight, transmit};
use crate::worker::limits::quota::{DepositCharge, OpeningCharge, Quotas};
use crate::worker::store::deposit::Deposit;
use crate::worker::store::slots::Slots;

/// How many messages may lie unanswered at the supervisor: descriptors in flight count against
/// this user, see unix(7).
const WINDOW: usize = 64;

/// How long a message that a peer waits for may find no room before it is given up.
const SOON: Duration = Duration::from_secs(1);
/// How long the supervisor may neither read nor answer before this worker ends.
const GIVE_UP: Duration = Duration::from_secs(30);
/// The pause before copies that could not be kept are sent again.
const KEEP_AGAIN: Duration = Duration::from_millis(200);

/// The way to the supervisor.
pub(crate) struct SupervisorLink {
    stream: Rc<Watched>,
    /// Held while a message is written: whole messages, in the order in which they were decided.
    turn: Mutex<()>,
    /// What the supervisor has not answered yet, oldest first.
    unanswered: RefCell<VecDeque<Unanswered>>,
    answered: Notify,
    /// In which slots lies what the supervisor could not keep.
    unkept: RefCell<BTreeSet<Slot>>,
    resend_copies: Notify,
    /// What has left its slot and has still to be closed at the supervisor, by owner, oldest first.
    closing: RefCell<BTreeMap<Uid, VecDeque<Arc<DepositCharge>>>>,
    /// Told when the supervisor cannot be written to: a worker is of no use then.
    broken: Notify,
    opening: RefCell<HashMap<u32, Waiter>>,
    reloading: RefCell<HashMap<u32, oneshot::Sender<Reloaded>>>,
    next_ticket: Cell<u32>,
}

/// An ADD or DEL.
struct Unanswered {
    slot: Slot,
    /// Of an ADD: on whose account its deposit is, and the charge.
    kept: Option<(Uid, Weak<DepositCharge>)>,
}

/// What came of opening a resource.
pub(crate) type Opened = Result<PeerFd, (Errno, String)>;

/// What came of reading the policy again.
pub(crate) struct Reloaded {
    pub(crate) generation: u32,
    pub(crate) outcome: Result<String, (Errno, String)>,
}

/// Who waits for a resource; the charge stays until the supervisor has answered, whether or not
/// anybody still waits, and what was opened has its place in the table on it until it is closed.
struct Waiter {
    answer: oneshot::Sender<Opened>,
    uid: Uid,
    charge: OpeningCharge,
}

impl Waiter {
    fn tell(self, mut outcome: Opened) {
        // Also what nobody waits for any more is closed on this user's account.
        if let Ok(opened) = &mut outcome {
            opened.move_to(self.uid);
            opened.keep_until_closed(self.charge.opened());
        }
        // Whoever asked may have left.
        let _ = self.answer.send(outcome);
    }
}

/// The exclusive right to write to the supervisor. What is decided while holding it stays true
/// until it is dropped: every change of the slots goes through here.
pub(crate) struct LinkGuard<'a> {
    link: &'a SupervisorLink,
    _turn: MutexGuard<'a, ()>,
}

impl SupervisorLink {
    /// A link over the socket pair, which is to be read too.
    pub(crate) fn new(link: OwnedFd) -> io::Result<(Self, Rc<Watched>)> {
        let stream = Rc::new(Watched::new(link)?);
        let link = Self {
            stream: Rc::clone(&stream),
            turn: Mutex::new(()),
            unanswered: RefCell::default(),
            answered: Notify::new(),
            unkept: RefCell::default(),
            resend_copies: Notify::new(),
            closing: RefCell::default(),
            broken: Notify::new(),
            opening: RefCell::default(),
            reloading: RefCell::default(),
            next_ticket: Cell::new(0),
        };
        Ok((link, stream))
    }

    /// Waits for the turn to write. Can be dropped.
    pub(crate) async fn lock(&self) -> LinkGuard<'_> {
        let turn = self.turn.lock().await;
        while self.unanswered.borrow().len() >= WINDOW {
            if timeout(GIVE_UP, self.answered.notified()).await.is_err() {
                // This worker ends: whoever waits here waits for that.
                self.broken.notify_one();
            }
        }
        LinkGuard { link: self, _turn: turn }
    }

    /// Has the supervisor open a resource for `uid`, by its position in the policy of that generation, and waits
    /// for it as long as `patience`.
    ///
    /// # Errors
    /// What the peer is answered, and why, when it was not opened in time or at all.
    pub(crate) async fn open(
        &self,
        generation: u32,
        resource: u32,
        patience: Duration,
        uid: Uid,
        charge: OpeningCharge,
    ) -> Opened {
        let late = |_| (Errno::TIMEDOUT, "it did not open in time".to_owned());
        let until = Instant::now() + patience;
        let guard = timeout_at(until, self.lock()).await.map_err(late)?;
        let ticket = self.ticket();
        let (answer, opened) = oneshot::channel();
        self.opening.borrow_mut().insert(ticket, Waiter { answer, uid, charge });
        let message = Control::Open { generation, resource, ticket };
        if guard.control_soon(message).await.is_err() {
            self.opening.borrow_mut().remove(&ticket);
            return Err(again());
        }
        drop(guard);
        timeout_at(until, opened).await.map_err(late)?.unwrap_or_else(|_| Err(again()))
    }

    /// Has the supervisor read the policy again; none when it has gone.
    pub(crate) async fn reload(&self) -> Option<Reloaded> {
        let ticket = self.ticket();
        let (answer, reloaded) = oneshot::channel();
        self.reloading.borrow_mut().insert(ticket, answer);
        self.lock().await.control(Control::Reload { ticket }).await.ok()?;
        reloaded.await.ok()
    }

    fn ticket(&self) -> u32 {
        self.next_ticket.replace(self.next_ticket.get().wrapping_add(1))
    }

    /// What a supervisor's copy was charged for: `deposit` has just left its slot. The charge stays
    /// until the supervisor says that the copy is closed, if it has one.
    pub(crate) fn leaves(&self, deposit: &Deposit) {
        let unkept = self.unkept.borrow_mut().remove(&deposit.slot);
        if deposit.descriptor.is_some() && !unkept {
            let mut closing = self.closing.borrow_mut();
            closing.entry(deposit.owner).or_default().push_back(Arc::clone(&deposit.charge));
        }
    }

    /// Charges what an earlier worker waited for: what left its slot then, and the supervisor has still
    /// to close. To be called before anything else leaves.
    pub(crate) fn wait_for(&self, tally: Tally, quotas: &Quotas) {
        let (mut closing, owner) = (self.closing.borrow_mut(), Uid(tally.uid));
        for _ in 0..tally.deposits {
            let charge = Arc::new(quotas.restored_deposit(owner, 0, true));
            closing.entry(owner).or_default().push_back(charge);
        }
    }

    /// The supervisor has closed its copies of so much that left its slot, of this owner the oldest first:
    /// in that order it closes.
    pub(crate) fn closed(&self, tally: Tally) {
        let (mut closing, owner) = (self.closing.borrow_mut(), Uid(tally.uid));
        let Some(charges) = closing.get_mut(&owner) else { return };
        let number = usize::try_from(tally.deposits).unwrap_or(usize::MAX);
        charges.drain(..number.min(charges.len()));
        if charges.is_empty() {
            closing.remove(&owner);
        }
    }

    /// A resource was opened, or was not. Whoever asked may have left: then it is closed here.
    pub(crate) fn opened(&self, ticket: u32, outcome: Opened) {
        let waiter = self.opening.borrow_mut().remove(&ticket);
        if let Some(waiter) = waiter {
            waiter.tell(outcome);
        }
    }

    /// Everybody who waits for a resource has to ask again.
    pub(crate) fn forget_opening(&self) {
        self.opening.borrow_mut().clear();
    }

    /// The policy was read again. Whoever asked may have left.
    pub(crate) fn reloaded(&self, ticket: u32, outcome: Reloaded) {
        let waiter = self.reloading.borrow_mut().remove(&ticket);
        let _ = waiter.map(|waiter| waiter.send(outcome));
    }

    /// Tells the supervisor that peers are being served.
    ///
    /// # Errors
    /// When the supervisor has gone.
    pub(crate) async fn serving(&self) -> io::Result<()> {
        let sent = self.lock().await.control(Control::Serving).await;
        sent.map_err(|_| ErrorKind::BrokenPipe.into())
    }

    /// Waits until the supervisor cannot be written to any more.
    pub(crate) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// The oldest message has been answered. Returns its slot if the copy of what lies there could not be
    /// kept: it will be sent again.
    pub(crate) fn settle(&self, rc: i16, slots: &Slots) -> Option<Slot> {
        let Unanswered { slot, kept } = self.unanswered.borrow_mut().pop_front()?;
        self.answered.notify_one();
        let (owner, charge) = kept.filter(|_| rc < 0)?;
        let is_its = |other: &Arc<DepositCharge>| Weak::as_ptr(&charge) == Arc::as_ptr(other);
        if !slots.get(slot).is_some_and(|deposit| is_its(&deposit.charge)) {
            self.forget_closing(owner, is_its);
            return None;
        }
        self.unkept.borrow_mut().insert(slot);
        self.resend_copies.notify_one();
        Some(slot)
    }

    /// What has left its slot with this charge need not be closed at the supervisor.
    fn forget_closing(&self, owner: Uid, is_its: impl Fn(&Arc<DepositCharge>) -> bool) {
        let mut closing = self.closing.borrow_mut();
        let Some(charges) = closing.get_mut(&owner) else { return };
        charges.retain(|other| !is_its(other));
        if charges.is_empty() {
            closing.remove(&owner);
        }
    }
}

/// Sends again what the supervisor could not keep, until it can. Never ends.
pub(crate) async fn resend_copies(link: &SupervisorLink, slots: &RefCell<Slots>) {
    loop {
        while let Some(slot) = { link.unkept.borrow().first().copied() } {
            tokio::time::sleep(KEEP_AGAIN).await;
            let guard = link.lock().await;
            // It may have left meanwhile.
            if !link.unkept.borrow_mut().remove(&slot) {
                continue;
            }
            let deposit = slots.borrow().get(slot).cloned();
            let Some(deposit) = deposit else { continue };
            if guard.keep(&deposit).await == Err(Unsent::Later) {
                link.unkept.borrow_mut().insert(slot);
            }
        }
        link.resend_copies.notified().await;
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsent {
    /// There was no room for it in time, and nothing of it went.
    Later,
    /// The supervisor has gone, or takes nothing any more: this worker ends.
    Ends,
}

impl LinkGuard<'_> {
    /// Keeps a deposit, its owner's record before its payload. It must not be dropped half done.
    ///
    /// # Errors
    /// [`Unsent::Later`] if there was no room in time, and nothing went.
    pub(crate) async fn keep(&self, deposit: &Deposit) -> Result<(), Unsent> {
        let Deposit { slot, owner, ufd, payload, .. } = deposit;
        let descriptor = deposit.descriptor.as_ref().and_then(PeerFd::descriptor);
        let record = deposit_record::write(*owner);
        let head = add_head(*slot, *ufd, record.len() + payload.len());
        self.write(&[&head, &record, payload], descriptor.as_slice(), SOON).await?;
        self.count(*slot, Some((*owner, Arc::downgrade(&deposit.charge))));
        Ok(())
    }

    /// Forgets a deposit.
    ///
    /// # Errors
    /// When this worker ends.
    pub(crate) async fn forget(&self, slot: Slot) -> Result<(), Unsent> {
        self.write(&[&del(slot), &[], &[]], &[], GIVE_UP).await?;
        self.count(slot, None);
        Ok(())
    }

    /// Sends what has no answer of its own.
    ///
    /// # Errors
    /// When this worker ends.
    pub(crate) async fn control(&self, message: Control<BorrowedFd<'_>>) -> Result<(), Unsent> {
        self.send(message, GIVE_UP).await
    }

    /// The same, where it can be sent another time.
    ///
    /// # Errors
    /// As [`LinkGuard::keep`].
    pub(crate) async fn control_soon(
        &self,
        message: Control<BorrowedFd<'_>>,
    ) -> Result<(), Unsent> {
        self.send(message, SOON).await
    }

    async fn send(
        &self,
        message: Control<BorrowedFd<'_>>,
        patience: Duration,
    ) -> Result<(), Unsent> {
        let message = message.into_extended();
        let parts = [&message.head()[..], &message.body, &[]];
        self.write(&parts, &message.descriptors, patience).await
    }

    /// Counts a message that has been sent: its answer is awaited.
    fn count(&self, slot: Slot, kept: Option<(Uid, Weak<DepositCharge>)>) {
        self.link.unanswered.borrow_mut().push_back(Unanswered { slot, kept });
    }

    /// Writes a whole message, or nothing of it. Of one that has begun the rest goes too, or this
    /// worker ends.
    async fn write(
        &self,
        parts: &[&[u8]; 3],
        descriptors: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> Result<(), Unsent> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut sent = match self.begin(parts, descriptors, patience).await {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::TimedOut && patience < GIVE_UP => {
                return Err(Unsent::Later);
            }
            Err(_) => return Err(self.broken()),
        };
        while sent < total {
            match timeout(GIVE_UP, self.write_some(parts, sent, &[])).await {
                Ok(Ok(more)) => sent += more,
                _ => return Err(self.broken()),
            }
        }
        Ok(())
    }

    /// Writes the first part of a message, with its descriptors; gives up after a time.
    async fn begin(
        &self,
        parts: &[&[u8]; 3],
        descriptors: &[BorrowedFd<'_>],
        patience: Duration,
    ) -> io::Result<usize> {
        // Nearly always there is room, and no timer is needed.
        match transmit(self.link.stream.as_fd(), &parts.map(IoSlice::new), descriptors) {
            Err(error) if error.kind() == ErrorKind::WouldBlock || too_many_in_flight(&error) => {}
            result => return result,
        }
        let begun = timeout(patience, self.write_some(parts, 0, descriptors)).await;
        begun.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    fn broken(&self) -> Unsent {
        self.link.broken.notify_one();
        Unsent::Ends
    }

    async fn write_some(
        &self,
        parts: &[&[u8]; 3],
        mut skip: usize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        let rest = parts.map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            IoSlice::new(&part[skipped..])
        });
        loop {
            match self.link.stream.write(|link| transmit(link, &rest, descriptors), || ()).await {
                Err(error) if too_many_in_flight(&error) => tokio::time::sleep(RETRY).await,
                result => return result,
            }
        }
    }
}

/// What a peer is told whose question got no answer from the supervisor.
fn again() -> (Errno, String) {
    (Errno::AGAIN, "the supervisor did not answer".to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use fdbroker_policy::Settings;
    use fdbroker_wire::Add;

    use super::*;
    use crate::fd::CloseQueue;

    const OWNER: Uid = Uid(7);
    const FAILED: i16 = -24;

    struct RequestContext {
        link: SupervisorLink,
        _supervisor: UnixStream,
        quotas: Quotas,
        slots: Slots,
        slot: Slot,
    }

    impl RequestContext {
        fn new() -> Self {
            let (ours, supervisor) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            Self {
                link: SupervisorLink::new(ours.into()).unwrap().0,
                _supervisor: supervisor,
                quotas: Quotas::new(&Settings::default(), 4096),
                slots: Slots::default(),
                slot: Slot::new(1, 5).unwrap(),
            }
        }

        /// Deposits something, in the place of what lies in the slot.
        async fn add(&mut self) {
            let descriptor: OwnedFd = std::io::pipe().unwrap().0.into();
            let descriptor = Some(CloseQueue::new().hold(OWNER, descriptor));
            let add = Add { slot: self.slot, ufd: 0, payload: b"".as_slice().into(), descriptor };
            let deposit = Deposit::new(add, OWNER, self.quotas.restored_deposit(OWNER, 0, true));
            self.link.lock().await.keep(&deposit).await.unwrap();
            if let Some(before) = self.slots.get(self.slot) {
                self.link.leaves(before);
            }
            self.slots.put(deposit);
        }

        async fn del(&mut self) {
            self.link.lock().await.forget(self.slot).await.unwrap();
            self.link.leaves(self.slots.get(self.slot).unwrap());
            self.slots.take(self.slot);
        }

        /// The supervisor answers the oldest message.
        fn answer(&self, rc: i16) -> Option<Slot> {
            self.link.settle(rc, &self.slots)
        }

        /// How many are charged until the supervisor has closed its copy.
        fn closing(&self) -> usize {
            self.link.closing.borrow().values().map(VecDeque::len).sum()
        }
    }

    #[tokio::test]
    async fn what_the_supervisor_could_not_keep_is_not_waited_for_when_it_is_deleted() {
        let mut case = RequestContext::new();
        case.add().await;
        assert_eq!(case.answer(FAILED), Some(case.slot));
        case.del().await;
        assert_eq!(case.answer(FAILED), None, "there was none to be deleted");
        assert_eq!(case.closing(), 0);
    }

    #[tokio::test]
    async fn what_the_supervisor_could_not_keep_is_not_waited_for_when_it_was_deleted_before() {
        let mut case = RequestContext::new();
        case.add().await;
        case.del().await;
        assert_eq!((case.answer(FAILED), case.answer(FAILED)), (None, None));
        assert_eq!(case.closing(), 0);
    }

    #[tokio::test]
    async fn what_the_supervisor_could_not_keep_is_not_waited_for_when_it_is_replaced() {
        let mut case = RequestContext::new();
        case.add().await;
        case.add().await;
        assert_eq!(case.answer(FAILED), None, "something else lies there");
        assert_eq!(case.answer(FAILED), Some(case.slot));
        case.add().await;
        assert_eq!((case.answer(0), case.closing()), (None, 0));
        case.add().await;
        assert_eq!((case.answer(0), case.closing()), (None, 1), "of this one it has a copy");
    }
}
