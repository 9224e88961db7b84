//! The worker's end of the socket pair: where deposits are safe from the worker's own death.
//!
//! A deposit counts as kept once the kernel has taken the whole message: it then lies in the
//! supervisor's receive queue, from which nothing that happens to the worker can take it back.
//! So the peer's answer need not wait for the supervisor to wake. The supervisor's own answer is
//! awaited afterwards: it opens the window for more, and tells if the copy could not be kept, for
//! which it is then sent again.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use fdbroker_policy::{Resource, ResourceIndex, Uid};
use fdbroker_wire::{Control, Errno, Slot, add_head, del};
use tokio::sync::{Mutex, MutexGuard, Notify, oneshot};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use super::copies::Copies;
use super::patience::{GIVE_UP, SendPatience};
use super::questions::{Asked, OpenOutcome, Questions, Reloaded};
use crate::fd::PeerFd;
use crate::payer::Payer;
use crate::sys::watch::Watched;
use crate::transmit::{rest, transmit};
use crate::worker::disconnected::Disconnected;
use crate::worker::limits::quota::OpeningCharge;
use crate::worker::store::deposit::Deposit;
use crate::worker::store::slots::Slots;

/// How many messages may lie unanswered at the supervisor: descriptors in flight count against
/// this user, see unix(7).
const WINDOW: usize = 64;

/// The pause before copies that could not be kept are sent again.
const KEEP_AGAIN: Duration = Duration::from_millis(200);

/// The way to the supervisor.
pub(crate) struct SupervisorLink {
    stream: Rc<Watched>,
    /// Held while a message is written: whole messages, in the order in which they were decided.
    turn: Mutex<()>,
    pub(crate) copies: Copies,
    pub(crate) questions: Questions,
    /// Told when the supervisor cannot be written to: a worker is of no use then.
    broken: Notify,
}

/// For whom a resource is opened: on whose account, and by which process.
pub(crate) struct Asker<'a> {
    pub(crate) uid: Uid,
    pub(crate) payer: Payer,
    pub(crate) pid: i32,
    pub(crate) process: Option<BorrowedFd<'a>>,
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
            copies: Copies::default(),
            questions: Questions::default(),
            broken: Notify::new(),
        };
        Ok((link, stream))
    }

    /// Waits for the turn to write. Can be dropped.
    pub(crate) async fn lock(&self) -> LinkGuard<'_> {
        let turn = self.turn.lock().await;
        while self.copies.unanswered() >= WINDOW {
            if timeout(GIVE_UP, self.copies.answered()).await.is_err() {
                // This worker ends: tasks that wait here wait for that.
                self.broken.notify_one();
            }
        }
        LinkGuard { link: self, _turn: turn }
    }

    /// Has the supervisor open a resource, by its position in the policy of that generation. Not to be dropped: a message
    /// goes whole.
    ///
    /// # Errors
    /// What the peer is answered, and why, when that could not be sent in time or at all.
    pub(crate) async fn ask_to_open(
        &self,
        generation: u32,
        index: ResourceIndex,
        resource: &Resource,
        asker: Asker<'_>,
        charge: OpeningCharge,
    ) -> Result<ToBeOpened<'_>, (Errno, String)> {
        // Where holders are counted, one may have to give its place back first.
        let wait = resource.lease.map_or(Duration::ZERO, |terms| terms.wait);
        let until = Instant::now() + resource.open_timeout + wait;
        let Asker { uid, payer, pid, process } = asker;
        let guard = timeout_at(until, self.lock()).await.map_err(late)?;
        let (ticket, opened) = self.questions.open(resource.opening, (uid, payer), charge);
        let process = process.filter(|_| resource.lease.is_some());
        let is_connection = resource.is_connection();
        let resource = index.0;
        let message = Control::Open { generation, resource, ticket, uid: uid.0, pid, process };
        if guard.send(message, SendPatience::until(until)).await.is_err() {
            self.questions.withdraw(ticket);
            return Err(again());
        }
        drop(guard);
        let asked = is_connection.then(|| self.questions.asked(ticket));
        Ok(ToBeOpened { _asked: asked, opened, until })
    }

    /// Has the supervisor say which leases there are, or end one.
    ///
    /// # Errors
    /// If it has gone.
    pub(crate) async fn ask(
        &self,
        question: impl FnOnce(u32) -> Control<BorrowedFd<'static>>,
    ) -> Result<Result<String, (Errno, String)>, Disconnected> {
        let (ticket, told) = self.questions.ask();
        self.lock().await.control(question(ticket)).await?;
        told.await.map_err(|_| Disconnected)
    }

    /// Has the supervisor read the policy again.
    ///
    /// # Errors
    /// If it has gone.
    pub(crate) async fn reload(&self) -> Result<Reloaded, Disconnected> {
        let (ticket, reloaded) = self.questions.reload();
        self.lock().await.control(Control::Reload { ticket }).await?;
        reloaded.await.map_err(|_| Disconnected)
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
}

/// A resource that the supervisor has been asked to open.
pub(crate) struct ToBeOpened<'a> {
    _asked: Option<Asked<'a>>,
    opened: oneshot::Receiver<OpenOutcome>,
    until: Instant,
}

impl ToBeOpened<'_> {
    /// Waits for it, as long as the resource's `open_timeout`. Can be dropped: a connection is given up then.
    ///
    /// # Errors
    /// What the peer is answered, and why, when it was not opened in time or at all.
    pub(crate) async fn outcome(self) -> OpenOutcome {
        timeout_at(self.until, self.opened).await.map_err(late)?.unwrap_or_else(|_| Err(again()))
    }
}

fn late(_: Elapsed) -> (Errno, String) {
    (Errno::TIMEDOUT, "opening it timed out".to_owned())
}

/// Tells the supervisor of callers that have left while they may have waited for a place among the
/// holders. Never ends.
pub(crate) async fn withdraw_questions(link: &SupervisorLink) {
    loop {
        for ticket in link.questions.left().await {
            // It fails when the supervisor has gone; then this worker ends too.
            let _ = link.lock().await.control(Control::Left { ticket }).await;
        }
    }
}

/// Sends again what the supervisor could not keep, until it can. Never ends.
pub(crate) async fn resend_copies(link: &SupervisorLink, slots: &RefCell<Slots>) {
    loop {
        let slot = link.copies.unkept().await;
        tokio::time::sleep(KEEP_AGAIN).await;
        let guard = link.lock().await;
        // It may have left by now.
        if !link.copies.take_unkept(slot) {
            continue;
        }
        let deposit = slots.borrow().get(slot).cloned();
        let Some(deposit) = deposit else { continue };
        if guard.keep(&deposit).await == Err(Unsent::Later) {
            link.copies.set_unkept(slot);
        }
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

impl From<Unsent> for Disconnected {
    fn from(_: Unsent) -> Self {
        Self
    }
}

impl LinkGuard<'_> {
    /// Keeps a deposit, its owner's record before its payload. It must not be dropped half done.
    ///
    /// # Errors
    /// [`Unsent::Later`] if there was no room in time, and nothing went.
    pub(crate) async fn keep(&self, deposit: &Deposit) -> Result<(), Unsent> {
        self.keep_within(deposit, SendPatience::PEER).await
    }

    /// The same of one that must not be lost.
    ///
    /// # Errors
    /// When this worker ends.
    pub(crate) async fn keep_again(&self, deposit: &Deposit) -> Result<(), Unsent> {
        self.keep_within(deposit, SendPatience::LAST).await
    }

    async fn keep_within(&self, deposit: &Deposit, patience: SendPatience) -> Result<(), Unsent> {
        let Deposit { slot, record, origin, ufd, payload, .. } = deposit;
        let descriptor = deposit.descriptor.as_ref().and_then(PeerFd::descriptor);
        let record = record.to_bytes(origin);
        let head = add_head(*slot, *ufd, record.len() + payload.len());
        self.write(&[&head, &record, payload], descriptor.as_slice(), patience).await?;
        self.link.copies.sent(deposit);
        Ok(())
    }

    /// Forgets a deposit.
    ///
    /// # Errors
    /// When this worker ends.
    pub(crate) async fn forget(&self, slot: Slot) -> Result<(), Unsent> {
        self.write(&[&del(slot), &[], &[]], &[], SendPatience::LAST).await?;
        self.link.copies.sent_away(slot);
        Ok(())
    }

    /// Sends what has no answer of its own.
    ///
    /// # Errors
    /// When this worker ends.
    pub(crate) async fn control(&self, message: Control<BorrowedFd<'_>>) -> Result<(), Unsent> {
        self.send(message, SendPatience::LAST).await
    }

    /// The same, where it can be sent another time.
    ///
    /// # Errors
    /// As [`LinkGuard::keep`].
    pub(crate) async fn control_soon(
        &self,
        message: Control<BorrowedFd<'_>>,
    ) -> Result<(), Unsent> {
        self.send(message, SendPatience::BRIEF).await
    }

    async fn send(
        &self,
        message: Control<BorrowedFd<'_>>,
        patience: SendPatience,
    ) -> Result<(), Unsent> {
        let message = message.into_extended();
        let parts = [&message.head()[..], &message.body, &[]];
        self.write(&parts, &message.descriptors, patience).await
    }

    /// Writes a whole message, or nothing of it. Of one that has begun the rest goes too, or this
    /// worker ends.
    async fn write(
        &self,
        parts: &[&[u8]; 3],
        descriptors: &[BorrowedFd<'_>],
        patience: SendPatience,
    ) -> Result<(), Unsent> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let whole = rest(*parts, 0);
        let mut sent = match patience.begin(&self.link.stream, &whole, descriptors).await {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(Unsent::Later),
            Err(_) => return Err(self.broken()),
        };
        while sent < total {
            match timeout(GIVE_UP, self.write_some(parts, sent)).await {
                Ok(Ok(more)) => sent += more,
                _ => return Err(self.broken()),
            }
        }
        Ok(())
    }

    fn broken(&self) -> Unsent {
        self.link.broken.notify_one();
        Unsent::Ends
    }

    async fn write_some(&self, parts: &[&[u8]; 3], sent: usize) -> io::Result<usize> {
        let rest = rest(*parts, sent);
        self.link.stream.write(|link| transmit(link, &rest, &[]), || ()).await
    }
}

/// What a peer is told whose question got no answer from the supervisor.
fn again() -> (Errno, String) {
    (Errno::AGAIN, "the supervisor did not answer".to_owned())
}
