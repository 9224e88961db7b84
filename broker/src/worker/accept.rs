//! Accepting peers: a charge on its user, then its turn, then its identity, then a session.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fdbroker_policy::{Gid, Uid};
use fdbroker_wire::{Errno, reply};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::PollFlags;
use rustix::io::ioctl_fionbio;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;

use super::identity::Identity;
use super::limits::loop_time::Turn;
use super::limits::quota::{ConnectionCharge, Exceeded, LateCharge};
use super::serve;
use super::sessions::{Late, is_over};
use super::state::Worker;
use super::unaccepted::Unaccepted;
use crate::fd::{CloseQueue, Depositor, PeerFd};
use crate::log::{Kind, Record, Verdict};
use crate::look::look;
use crate::payer::Payer;
use crate::sys::socket::{read_urgent_inline, tell_unread};
use crate::sys::watch::Watched;
use crate::transmit::transmit;

/// The pause after an accept that failed: it may be for want of descriptors, and those come back
/// only as others leave.
const PAUSE: Duration = Duration::from_millis(50);

/// How long peers are accepted before the sessions have their turn.
const SLICE: Duration = Duration::from_micros(100);

/// How long, and in which steps, a connection waits for others of its user to be closed: a second.
const PARTING_STEPS: u32 = 50;
const PARTING_STEP: Duration = Duration::from_millis(20);

/// The socket that peers are accepted from. With its last close(2) the kernel closes what those have sent
/// that wait in its backlog: so it is never closed on the loop.
struct Listener {
    /// Only taken out when dropped.
    socket: Option<Watched>,
    close_queue: CloseQueue,
}

/// The listening sockets that a worker is given.
pub(crate) struct Sockets {
    pub(crate) first: PeerFd,
    /// Nobody is accepted from the first one: another broker still has the deposits.
    pub(crate) is_held: bool,
    pub(crate) others: UnboundedReceiver<PeerFd>,
}

/// Accepts peers for as long as the worker lives, each time from the listening socket that came last.
///
/// # Errors
/// When a listening socket cannot be used.
pub(crate) async fn accept(worker: Rc<Worker>, sockets: Sockets) -> io::Result<()> {
    let Sockets { first, is_held, mut others } = sockets;
    let queue = &worker.close_queue;
    let mut listener = Listener::new(first, queue)?;
    worker.link.serving().await?;
    if is_held && let Some(same) = others.recv().await {
        listener = Listener::new(same, queue)?;
    }
    let mut unaccepted = Unaccepted::default();
    loop {
        tokio::select! {
            never = accept_from(&worker, &listener, &mut unaccepted) => match never? {},
            Some(other) = others.recv() => listener = Listener::new(other, queue)?,
        }
    }
}

async fn accept_from(
    worker: &Rc<Worker>,
    listener: &Listener,
    unaccepted: &mut Unaccepted,
) -> io::Result<Infallible> {
    loop {
        let mut busy = Duration::ZERO;
        while busy < SLICE {
            let mut began = Instant::now();
            // Nobody is charged for the time in which nobody comes.
            let next = |socket: BorrowedFd<'_>| {
                began = Instant::now();
                worker.loop_time.begin();
                Ok(accept_with(socket, SocketFlags::CLOEXEC)?)
            };
            match listener.accept(next).await {
                Ok(stream) => {
                    unaccepted.accepted().iter().for_each(|told| worker.log().info(told));
                    arrive(worker, stream);
                }
                Err(error) => {
                    unaccepted.failed(&error).iter().for_each(|told| worker.log().error(told));
                    tokio::time::sleep(PAUSE).await;
                }
            }
            busy += began.elapsed();
        }
        yield_now().await;
        if worker.quotas.has_many_unclosed() {
            worker.close_queue.hurry(Depositor::Broker);
        }
        worker.quotas.has_closed_enough().await;
    }
}

impl Listener {
    /// # Errors
    /// When it cannot be watched.
    fn new(socket: PeerFd, close_queue: &CloseQueue) -> io::Result<Self> {
        // Accepting must not wait if a peer has left in the meantime.
        if let Some(socket) = socket.descriptor() {
            ioctl_fionbio(socket, true)?;
        }
        let socket = socket.into_inner().ok_or(ErrorKind::NotConnected)?;
        match Watched::or_back(socket) {
            Ok(socket) => Ok(Self { socket: Some(socket), close_queue: close_queue.clone() }),
            Err((socket, error)) => {
                drop(close_queue.hold(close_queue.unread(), socket));
                Err(error)
            }
        }
    }

    /// Waits for a connection, which `step` takes.
    async fn accept(
        &self,
        step: impl FnMut(BorrowedFd<'_>) -> io::Result<OwnedFd>,
    ) -> io::Result<OwnedFd> {
        match &self.socket {
            Some(socket) => socket.read(step).await,
            None => pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            drop(self.close_queue.hold(self.close_queue.unread(), socket.into_inner()));
        }
    }
}

/// Starts a task for a new connection, which waits for its user's turn. Nothing here takes long:
/// the connections behind it in the backlog wait for that.
fn arrive(worker: &Rc<Worker>, stream: OwnedFd) {
    let arrival = match Arrival::new(worker, stream) {
        Ok(arrival) => arrival,
        Err((stream, error)) => {
            drop(worker.close_queue.hold(Depositor::Nobody, stream));
            return worker.log().error(&format!("cannot identify a peer: {error}"));
        }
    };
    let (payer, turn) = (arrival.payer, Rc::clone(&arrival.turn));
    if has_left(&arrival.stream) {
        // It asks for nothing, and takes no more than the time for that.
        arrival.comes_to_nothing(worker);
        serve::put_away_empty(worker, arrival.stream);
        return worker.loop_time.charge(payer);
    }
    match worker.quotas.connection(payer) {
        Ok(charge) => {
            let welcome = arrival.welcome(Rc::clone(worker), charge);
            tokio::task::spawn_local(async move { turn.charged(welcome).await });
        }
        Err(exceeded) => match may_wait(worker, payer) {
            Some(late) => {
                let wait = arrival.wait(Rc::clone(worker), late, exceeded);
                tokio::task::spawn_local(async move { turn.charged(wait).await });
            }
            None => arrival.exceeds(worker, exceeded),
        },
    }
    worker.loop_time.charge(payer);
}

/// Whether nobody is at the other end any more, and nothing is left of what was sent from there.
fn has_left(stream: &OwnedFd) -> bool {
    look(stream.as_fd(), PollFlags::empty()).is_ok_and(|found| found.contains(PollFlags::HUP))
        && is_over(stream)
}

/// Lets a connection wait until others of its user have ended, if not too many do.
fn may_wait(worker: &Worker, payer: Payer) -> Option<(Late, LateCharge)> {
    worker.sessions.late(payer).zip(worker.quotas.late(payer).ok())
}

/// Whether any connections of this user are about to be off its account.
fn are_fewer_soon(worker: &Worker, payer: Payer) -> bool {
    worker.sessions.are_ending(payer) || worker.connections.are_parting(payer)
}

/// A connection that is no session yet.
struct Arrival {
    stream: OwnedFd,
    uid: Uid,
    payer: Payer,
    gid: Gid,
    pid: i32,
    turn: Rc<Turn>,
}

impl Arrival {
    fn new(worker: &Worker, stream: OwnedFd) -> Result<Self, (OwnedFd, nix::errno::Errno)> {
        let credentials = match getsockopt(&stream, sockopt::PeerCredentials) {
            Ok(credentials) => credentials,
            Err(error) => return Err((stream, error)),
        };
        let (uid, gid) = (Uid(credentials.uid()), Gid(credentials.gid()));
        let payer = worker.policy.now().payers.of(uid);
        let turn = worker.loop_time.turn(payer);
        Ok(Self { stream, uid, payer, gid, pid: credentials.pid(), turn })
    }

    /// Serves it when its user's turn has come.
    async fn welcome(self, worker: Rc<Worker>, charge: ConnectionCharge) {
        self.turn.take().await;
        if has_left(&self.stream) {
            self.comes_to_nothing(&worker);
            return self.end(&worker);
        }
        let mut identity = match Identity::of(&self.stream, worker.sees_units) {
            Ok(identity) => identity,
            Err(error) => {
                let reason = format!("its identity cannot be read: {error}");
                return self.turn_away(&worker, Errno::ACCES, &reason);
            }
        };
        worker.groups.share(&mut identity);
        if !names_writers(&self.stream) {
            self.refuse(&worker, NO_WRITERS);
            return self.end(&worker);
        }
        // Before anything is read.
        if let Err(error) = read_urgent_inline(self.stream.as_fd()) {
            self.refuse(&worker, &format!("bytes out of band cannot be read inline: {error}"));
            return self.end(&worker);
        }
        // Where the kernel cannot, each request costs one more look at an empty socket.
        let _ = tell_unread(self.stream.as_fd());
        match Watched::or_back(self.stream) {
            Ok(stream) => {
                let who = (Rc::new(identity), self.payer);
                serve::serve(worker, stream, who, charge, self.turn).await;
            }
            Err((stream, error)) => {
                worker.log().error(&format!("a peer cannot be watched: {error}"));
                drop(worker.close_queue.hold(Depositor::Brought(self.payer), stream));
            }
        }
    }

    /// Serves it after all, if enough of the connections that count have been left by then.
    async fn wait(self, worker: Rc<Worker>, late: (Late, LateCharge), exceeded: Exceeded) {
        let arrived = Instant::now();
        self.turn.take().await;
        worker.sessions.reap(self.payer, arrived);
        if matches!(exceeded, Exceeded::Connections(_) | Exceeded::LastConnections(_)) {
            worker.sessions.reap_all();
        }
        // Those that the supervisor knows count until it has closed its duplicates.
        let mut charge = worker.quotas.connection(self.payer);
        for _ in 0..PARTING_STEPS {
            if charge.is_ok() || !are_fewer_soon(&worker, self.payer) {
                break;
            }
            tokio::time::sleep(PARTING_STEP).await;
            charge = worker.quotas.connection(self.payer);
        }
        drop(late);
        match charge {
            Ok(charge) => self.welcome(worker, charge).await,
            Err(exceeded) => self.exceeds(&worker, exceeded),
        }
    }

    /// Turns a peer away since there are too many. It comes to nothing by its user only if the user has them.
    fn exceeds(self, worker: &Worker, exceeded: Exceeded) {
        if matches!(exceeded, Exceeded::ConnectionsOfUser(_) | Exceeded::Brought) {
            self.comes_to_nothing(worker);
        }
        self.turn_away(worker, Errno::DQUOT, &exceeded.to_string());
    }

    /// It was left before it was served, or is turned away.
    fn comes_to_nothing(&self, worker: &Worker) {
        worker.arrivals.came_to_nothing(self.uid, self.payer, Instant::now());
    }

    /// Tells a peer why it is disconnected.
    fn turn_away(self, worker: &Worker, errno: Errno, reason: &str) {
        self.refuse(worker, reason);
        let answer = reply(-errno.get(), reason);
        // A courtesy: the connection ends in any case.
        let _ = transmit(self.stream.as_fd(), &[io::IoSlice::new(&answer)], &[]);
        self.end(worker);
    }

    /// Records that it does not become a session. Where its process runs is not looked up for that.
    fn refuse(&self, worker: &Worker, reason: &str) {
        // What is not done need not be recorded first.
        let _ = worker.audit.record(&Record {
            kind: Kind::Connection,
            right: "connect",
            verdict: Verdict::Refused,
            reason,
            ..Record::of(self.uid, self.gid, self.pid, "unknown")
        });
    }

    fn end(self, worker: &Worker) {
        // It fails when the peer has gone: then there is nothing left to end.
        let _ = shutdown(&self.stream, Shutdown::Both);
        serve::put_away(worker, self.payer, self.stream, ());
    }
}

/// Whether the kernel tells who wrote what is read. A connection has that from the listening
/// socket: since Linux 6.16 as that was when the peer connected, before as it is at accept.
fn names_writers(stream: &OwnedFd) -> bool {
    getsockopt(stream, sockopt::PassCred).unwrap_or(false)
}

const NO_WRITERS: &str = "it connected before SO_PASSCRED was switched on; set \
PassCredentials=yes in the socket unit";
