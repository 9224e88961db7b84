//! What callers have on terms, and when that ends.
//!
//! Of everything that is handed out on terms the supervisor keeps a duplicate and a pidfd of the process that
//! asked. A lease ends with that process, when the server hangs up, when its time is up, or when somebody says
//! so. Then what was handed out is shut down, in every process that has it, and its place is free. Nothing of it is in the
//! worker: leases outlive that.

mod end;
mod ends;
pub(crate) mod holders;
mod lease;
pub(crate) mod pass_on;
mod report;
pub(crate) mod returned;
pub(crate) mod times;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use fdbroker_policy::Uid;
use fdbroker_wire::{Errno, Relay};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::end::{Ending, Why};
use self::ends::{End, Ends};
use self::lease::HeldLease;
pub(crate) use self::lease::{LeaseNumber, LeaseOffer, Numbers};
use crate::audit::{Audit, NotRecorded};
use crate::fd::{CloseQueue, Depositor, PeerFd, table};
use crate::payer::Payer;
use crate::process_number;
use crate::supervisor::deposits::mirror::Mirror;
use crate::supervisor::news::Told;

/// How many end at once because their time is up, before others are served.
const AT_ONCE: usize = 64;

const UNRECORDED: &str = "the audit trail cannot be written, and nothing may be done unrecorded";

/// All leases.
#[derive(Clone)]
pub(crate) struct Leases(Rc<All>);

struct All {
    held: RefCell<BTreeMap<LeaseNumber, HeldLease>>,
    ends: Ends,
    /// There is another one, whose time may be up sooner.
    begun: Notify,
    told: Told,
    audit: Rc<Audit>,
    /// What the next supervisor has of them.
    mirror: RefCell<Mirror>,
    close_queue: CloseQueue,
}

impl Leases {
    /// # Errors
    /// As epoll_create1(2).
    pub(crate) fn new(told: Told, audit: Rc<Audit>, close_queue: CloseQueue) -> io::Result<Self> {
        let (held, ends, begun) = (RefCell::default(), Ends::new()?, Notify::new());
        let mirror = RefCell::default();
        Ok(Self(Rc::new(All { held, ends, begun, told, audit, mirror, close_queue })))
    }

    /// Begins a lease of what is about to be sent.
    ///
    /// # Errors
    /// If it cannot be watched: then it must not be handed out. EMFILE if the table is so full that other things had no
    /// room beside it: then the worker could not be read from.
    pub(crate) fn begin(&self, offer: LeaseOffer, handed_out: BorrowedFd<'_>) -> io::Result<()> {
        let LeaseOffer { lease, place, payer, process, until_closed } = offer;
        // Without it, nothing would end the lease of a client that leaves.
        let process = process.and_then(process_number::pidfd);
        let process = process.ok_or_else(|| io::Error::other("its process is not known"))?;
        let charge = Arc::clone(&until_closed);
        let socket = self.duplicate(handed_out, payer, (until_closed, place))?;
        if socket.number() >= table::crowded_from() {
            return Err(rustix::io::Errno::MFILE.into());
        }
        // A relay ends with this supervisor.
        let goes_on = lease.connection.relay != Relay::Relayed;
        let held = HeldLease { lease, socket, process: Some(process) };
        let mirrored = held.mirrored();
        let connection = goes_on.then(|| self.duplicate(handed_out, payer, charge)).transpose()?;
        self.hold(held)?;
        if let Some(connection) = connection {
            self.0.mirror.borrow().lease(mirrored, payer, connection);
        }
        Ok(())
    }

    fn duplicate(
        &self,
        connection: BorrowedFd<'_>,
        payer: Payer,
        until_closed: impl Send + Sync + 'static,
    ) -> io::Result<PeerFd> {
        let duplicate = connection.try_clone_to_owned()?;
        let mut duplicate = self.0.close_queue.hold(Depositor::Opened(payer), duplicate);
        duplicate.keep_until_closed(until_closed);
        Ok(duplicate)
    }

    /// Watches a lease, until it ends.
    fn hold(&self, held: HeldLease) -> io::Result<()> {
        let number = LeaseNumber(held.lease.number);
        let process = held.process.as_ref().map(AsFd::as_fd);
        self.0.ends.watch(number, held.socket.descriptor(), process)?;
        self.0.held.borrow_mut().insert(number, held);
        self.0.begun.notify_one();
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.held.borrow().len()
    }

    /// Ends leases when their time has come.
    ///
    /// # Errors
    /// When the kernel does not tell of ends any more.
    pub(crate) async fn keep(&self) -> io::Result<Infallible> {
        let mut ended = self.0.ends.ended()?;
        loop {
            let next = self.next_expiry();
            let time = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ends = ended.next() => ends?.into_iter().for_each(|end| self.ended(end)),
                () = time => self.expire(),
                () = self.0.begun.notified() => {}
            }
            // Each end is recorded, and many may come at once: others are served in between.
            tokio::task::yield_now().await;
        }
    }

    /// Ends a lease because a user says so: its own, or anybody's.
    ///
    /// # Errors
    /// If there is no such lease that this user may end, or if that cannot be recorded and must be.
    pub(crate) fn give_up(
        &self,
        number: LeaseNumber,
        by: Uid,
        of_anybody: bool,
    ) -> Result<String, (Errno, String)> {
        let held = self.0.held.borrow();
        let Some(HeldLease { lease, .. }) = held.get(&number) else {
            return Err((Errno::NOENT, format!("there is no lease {number}")));
        };
        let why = match Uid(lease.uid) {
            holder if holder == by => Why::GivenBack(by),
            _ if of_anybody => Why::Revoked(by),
            _ => return Err((Errno::ACCES, format!("lease {number} is another user's"))),
        };
        let recorded = Ending { lease, why }.record(&self.0.audit);
        recorded.map_err(|NotRecorded| (Errno::IO, UNRECORDED.to_owned()))?;
        drop(held);
        self.end_recorded(number);
        Ok(format!("lease {number} has ended"))
    }

    /// The broker ends: what the next one does not know has ended.
    pub(crate) fn leave(&self) {
        let mirror = self.0.mirror.borrow().clone();
        for HeldLease { lease, .. } in self.0.held.borrow().values() {
            if !mirror.has_lease(lease.number) {
                // It ends all the same.
                let _ = Ending { lease, why: Why::BrokerEnded }.record(&self.0.audit);
            }
        }
    }

    /// Returns those with greater numbers than this one, of one user or of all: a line each, as many as a report has room
    /// for.
    pub(crate) fn report(&self, after: LeaseNumber, of: Option<Uid>) -> String {
        let held = self.0.held.borrow();
        let behind = held.range((Bound::Excluded(after), Bound::Unbounded));
        let leases = behind.map(|(_, held)| &held.lease);
        report::of(leases.filter(|lease| of.is_none_or(|user| lease.uid == user.0)))
    }

    fn next_expiry(&self) -> Option<Instant> {
        let held = self.0.held.borrow();
        let next = held.values().filter_map(|held| held.lease.expires).min()?;
        // A time beyond what the clock can show never comes.
        Instant::now().checked_add(times::left(next))
    }

    fn expire(&self) {
        let is_over = |held: &HeldLease| {
            held.lease.expires.is_some_and(|expires| times::left(expires).is_zero())
        };
        let held = self.0.held.borrow();
        let over = held.iter().filter(|(_, held)| is_over(held));
        let over: Vec<_> = over.map(|(number, _)| *number).take(AT_ONCE).collect();
        drop(held);
        over.into_iter().for_each(|number| self.end(number, Why::TimeUp));
    }

    fn ended(&self, end: End) {
        match end {
            End::Process(number) => self.end(number, Why::ProcessEnded),
            End::Socket(number) => self.end(number, Why::HungUp),
        }
    }

    /// A lease ends by itself. That is not held back by a trail that cannot be written: it would leave a connection with
    /// somebody who is to have it no longer.
    fn end(&self, number: LeaseNumber, why: Why) {
        if let Some(HeldLease { lease, .. }) = self.0.held.borrow().get(&number) {
            let _ = Ending { lease, why }.record(&self.0.audit);
        }
        self.end_recorded(number);
    }

    fn end_recorded(&self, number: LeaseNumber) {
        let Some(held) = self.0.held.borrow_mut().remove(&number) else { return };
        self.0.mirror.borrow().end_lease(number.0);
        let process = held.process.as_ref().map(AsFd::as_fd);
        self.0.ends.watch_no_longer(held.socket.descriptor(), process);
        let HeldLease { socket, .. } = held;
        // Not here: a socket's lock can be held for as long as a holder likes. Only that user waits then.
        socket.shut_when_closed(true);
        socket.close_soon();
    }
}
