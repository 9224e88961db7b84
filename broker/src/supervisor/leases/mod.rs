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
mod pass_on;
mod report;
pub(crate) mod returned;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use fdbroker_policy::Uid;
use fdbroker_wire::connection::RELAYED;
use fdbroker_wire::{Errno, HeldLease};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::end::{Ending, Why};
use self::ends::{End, Ends};
use self::lease::Lease;
pub(crate) use self::lease::{LeaseNumber, LeaseOffer, Numbers};
pub(crate) use self::pass_on::PassedOn;
use crate::audit::{Audit, NotRecorded};
use crate::fd::{CloseQueue, Depositor, PeerFd};
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
    held: RefCell<BTreeMap<LeaseNumber, Lease>>,
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
    /// If it cannot be watched: then it must not be handed out.
    pub(crate) fn begin(&self, offer: LeaseOffer, handed_out: BorrowedFd<'_>) -> io::Result<()> {
        let LeaseOffer { number, resource, slot, relay, terms, place, uid, payer, pid, .. } = offer;
        let (process, until_closed) = (offer.process, offer.until_closed);
        // Without it, nothing would end the lease of a client that leaves.
        let process = process.and_then(process_number::pidfd);
        let process = process.ok_or_else(|| io::Error::other("its process is not known"))?;
        let charge = Arc::clone(&until_closed);
        let socket = self.duplicate(handed_out, payer, (until_closed, place))?;
        let expires = terms.ttl.map(|ttl| (Instant::now() + ttl, SystemTime::now() + ttl));
        let since = SystemTime::now();
        let process = Some(process);
        let lease = Lease { resource, slot, relay, uid, pid, since, expires, socket, process };
        let mirrored = lease.mirrored(number);
        // A relay ends with this supervisor.
        let connection =
            (relay != RELAYED).then(|| self.duplicate(handed_out, payer, charge)).transpose()?;
        self.hold(number, lease)?;
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
    fn hold(&self, number: LeaseNumber, lease: Lease) -> io::Result<()> {
        let process = lease.process.as_ref().map(AsFd::as_fd);
        self.0.ends.watch(number, lease.socket.descriptor(), process)?;
        self.0.held.borrow_mut().insert(number, lease);
        self.0.begun.notify_one();
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.held.borrow().len()
    }

    /// Returns all of them, for a successor.
    ///
    /// # Errors
    /// As dup(2).
    pub(crate) fn to_pass_on(&self, payer: impl Fn(Uid) -> Payer) -> io::Result<Vec<PassedOn>> {
        let held = self.0.held.borrow();
        let pass_on = |(number, lease): (&LeaseNumber, &Lease)| {
            let socket = lease.socket.descriptor().ok_or(io::ErrorKind::NotConnected)?;
            let socket = socket.try_clone_to_owned()?;
            let socket = self.0.close_queue.hold(Depositor::Opened(payer(lease.uid)), socket);
            let process = lease.process.as_ref().map(OwnedFd::try_clone).transpose()?;
            Ok(PassedOn { held: lease.to_tell(*number), socket: Rc::new(socket), process })
        };
        held.iter().map(pass_on).collect()
    }

    /// Goes on with a lease of a predecessor's. What belongs to it stays until its socket is closed.
    ///
    /// # Errors
    /// If it cannot be watched.
    pub(crate) fn take_over(
        &self,
        held: HeldLease,
        mut socket: PeerFd,
        process: Option<PeerFd>,
        payer: Payer,
        belongs: impl Send + Sync + 'static,
    ) -> io::Result<()> {
        socket.move_to(Depositor::Opened(payer));
        socket.keep_until_closed(belongs);
        let process = process.and_then(process_number::pidfd);
        let number = LeaseNumber(held.number);
        self.0.ends.watch(number, socket.descriptor(), process.as_ref().map(AsFd::as_fd))?;
        self.0.held.borrow_mut().insert(number, Lease::told(held, socket, process));
        self.0.begun.notify_one();
        Ok(())
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
        let Some(lease) = held.get(&number) else {
            return Err((Errno::NOENT, format!("there is no lease {number}")));
        };
        let why = match lease.uid {
            holder if holder == by => Why::GivenBack(by),
            _ if of_anybody => Why::Revoked(by),
            _ => return Err((Errno::ACCES, format!("lease {number} is another user's"))),
        };
        let recorded = Ending::of(number, lease, why).record(&self.0.audit);
        recorded.map_err(|NotRecorded| (Errno::IO, UNRECORDED.to_owned()))?;
        drop(held);
        self.end_recorded(number);
        Ok(format!("lease {number} has ended"))
    }

    /// The broker ends: what the next one does not know has ended.
    pub(crate) fn leave(&self) {
        let mirror = self.0.mirror.borrow().clone();
        for (number, lease) in &*self.0.held.borrow() {
            if !mirror.has_lease(number.0) {
                // It ends all the same.
                let _ = Ending::of(*number, lease, Why::BrokerEnded).record(&self.0.audit);
            }
        }
    }

    /// Returns those with greater numbers than this one, a line each, as many as a report has room for.
    pub(crate) fn report(&self, after: LeaseNumber) -> String {
        report::of(&self.0.held.borrow(), after)
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.0.held.borrow().values().filter_map(Lease::expiry).min()
    }

    fn expire(&self) {
        let now = Instant::now();
        let held = self.0.held.borrow();
        let over = held.iter().filter(|(_, lease)| lease.expiry().is_some_and(|it| it <= now));
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
        if let Some(lease) = self.0.held.borrow().get(&number) {
            let _ = Ending::of(number, lease, why).record(&self.0.audit);
        }
        self.end_recorded(number);
    }

    fn end_recorded(&self, number: LeaseNumber) {
        let Some(lease) = self.0.held.borrow_mut().remove(&number) else { return };
        self.0.mirror.borrow().end_lease(number.0);
        let process = lease.process.as_ref().map(AsFd::as_fd);
        self.0.ends.watch_no_longer(lease.socket.descriptor(), process);
        let Lease { socket, .. } = lease;
        // Not here: a socket's lock can be held for as long as a holder likes. Only that user waits then.
        socket.shut_when_closed(true);
        socket.close_soon();
    }
}
