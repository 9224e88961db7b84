//! The way to the processes that close connections in which descriptors lie unread; see [`crate::closer`].
//!
//! A closer is asked for when it is first needed. From then on there is a spare one, for when it takes no
//! more. What it has no time for yet waits here, and nobody is accepted while much does. When nothing could
//! be sent for a second, the worker closes them itself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_wire::Control;
use tokio::sync::Notify;

use super::write::SupervisorLink;
use crate::fd::{Depositor, PeerFd};
use crate::payer::Payer;
use crate::transmit::{is_short, transmit};

/// How often a closer is asked for at most.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How many are at hand: one in use, and a spare one.
const ENOUGH: usize = 2;
/// How long one may take nothing until it is given up, and how long there may be none.
const BEHIND: Duration = Duration::from_secs(1);
/// How long after a connection the closer is told that it need not keep it open for this worker.
const MOMENT: Duration = Duration::from_millis(50);

/// The links to the closer that is in use, and to a spare one.
#[derive(Default)]
pub(crate) struct CloserLinks {
    links: RefCell<VecDeque<PeerFd>>,
    /// The first keeps open what it was sent last.
    keeps: Cell<bool>,
    sent: Notify,
    /// Since when the first has taken nothing.
    behind: Cell<Option<Instant>>,
    asked: Cell<Option<Instant>>,
    /// On whose account descriptors were left unread last.
    uid: Cell<u32>,
    wanted: Notify,
    waiting: RefCell<VecDeque<EndedConnection>>,
    /// Told when something waits.
    waits: Notify,
    /// Since when nothing could be sent.
    unable: Cell<Option<Instant>>,
}

/// A connection that waits for a closer, and what it is charged with until it has one.
pub(crate) struct EndedConnection {
    pub(crate) payer: Payer,
    pub(crate) socket: OwnedFd,
    pub(crate) charge: Box<dyn Send + Sync>,
}

/// What became of the first that waited.
pub(crate) enum Next {
    Sent,
    /// It still waits.
    Later,
    /// No closer takes it.
    GivenUp(EndedConnection),
    /// None waited.
    Nothing,
}

/// What became of a message to a closer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    Taken,
    /// It has had no time yet for those before, or the kernel has no room.
    Behind,
    /// It is full, or gone, or sleeps.
    Gone,
}

impl CloserLinks {
    /// Has a connection closed, at once or as soon as a closer takes it. Until then its charge stays.
    pub(crate) fn close(&self, connection: EndedConnection) {
        let alone = self.waiting.borrow().is_empty();
        self.waiting.borrow_mut().push_back(connection);
        // What no closer has taken for long is given up where it can be closed.
        if !alone || self.unable.get().is_some() || !matches!(self.send_next(), Next::Sent) {
            self.waits.notify_one();
        }
    }

    /// Sends the first that waits, if that can be done now.
    pub(crate) fn send_next(&self) -> Next {
        let Some(EndedConnection { payer, socket, charge }) = self.waiting.borrow_mut().pop_front()
        else {
            return Next::Nothing;
        };
        match self.take(payer, socket) {
            Ok(()) => {
                self.unable.set(None);
                Next::Sent
            }
            Err(socket) if is_long(&self.unable) => {
                Next::GivenUp(EndedConnection { payer, socket, charge })
            }
            Err(socket) => {
                self.waiting.borrow_mut().push_front(EndedConnection { payer, socket, charge });
                Next::Later
            }
        }
    }

    /// Waits until something may wait to be sent. Can be dropped.
    pub(crate) async fn waits(&self) {
        self.waits.notified().await;
    }

    /// Sends a connection of `payer` to the closer, or returns it.
    fn take(&self, payer: Payer, socket: OwnedFd) -> Result<(), OwnedFd> {
        let uid = payer.uid().0;
        self.uid.set(uid);
        let sent = self.send(&uid.to_ne_bytes(), &[socket.as_fd()]);
        if sent != Some(Sent::Taken) {
            return Err(socket);
        }
        // Not the last close: the closer keeps its own until it is sent something else.
        drop(socket);
        self.keeps.set(true);
        self.sent.notify_one();
        Ok(())
    }

    /// Goes on with another when there is no other left.
    pub(crate) fn keep(&self, mut link: PeerFd) {
        link.move_to(Depositor::Broker);
        let mut links = self.links.borrow_mut();
        if links.len() >= ENOUGH {
            // It was asked for twice, and ends when it sees that nobody needs it.
            return drop(link);
        }
        links.push_back(link);
        if links.len() < ENOUGH {
            self.asked.set(None);
            self.want();
        }
    }

    /// Asks for another closer.
    pub(crate) fn want(&self) {
        let now = Instant::now();
        if self.asked.get().is_none_or(|asked| now.duration_since(asked) > ASK_AGAIN) {
            self.asked.set(Some(now));
            self.wanted.notify_one();
        }
    }

    /// Lets the closer in use close what it was sent last. Returns whether there is nothing left to tell.
    fn let_go(&self) -> bool {
        let told = !self.keeps.get() || self.send(&[0], &[]) != Some(Sent::Behind);
        if told {
            self.keeps.set(false);
        }
        told
    }

    /// Sends to the first closer that is not gone; returns `None` if there is none.
    fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Option<Sent> {
        let mut links = self.links.borrow_mut();
        while let Some(link) = links.front().and_then(PeerFd::descriptor) {
            match self.judge(transmit(link, &[IoSlice::new(bytes)], descriptors)) {
                Sent::Gone => {
                    links.pop_front();
                    self.behind.set(None);
                    self.want();
                }
                sent => return Some(sent),
            }
        }
        self.want();
        None
    }

    fn judge(&self, sent: io::Result<usize>) -> Sent {
        match sent {
            Ok(_) => {
                self.behind.set(None);
                Sent::Taken
            }
            // Not the closer's doing.
            Err(error) if is_short(&error) => Sent::Behind,
            Err(error) if error.kind() == ErrorKind::WouldBlock && !is_long(&self.behind) => {
                Sent::Behind
            }
            Err(_) => Sent::Gone,
        }
    }
}

/// Whether it has been so for long, since this was first asked.
fn is_long(since: &Cell<Option<Instant>>) -> bool {
    let now = Instant::now();
    let begin = since.get().unwrap_or(now);
    since.set(Some(begin));
    now.duration_since(begin) > BEHIND
}

/// Asks the supervisor for a closer each time one is wanted. Never ends.
pub(crate) async fn ask(links: &CloserLinks, link: &SupervisorLink) {
    loop {
        links.wanted.notified().await;
        // It fails when the supervisor has gone; then this worker ends too.
        let _ = link.lock().await.control(Control::WantCloser { uid: links.uid.get() }).await;
    }
}

/// Has no closer keep a connection open for longer than it must. Never ends.
pub(crate) async fn let_go(links: &CloserLinks) {
    loop {
        links.sent.notified().await;
        tokio::time::sleep(MOMENT).await;
        while !links.let_go() {
            tokio::time::sleep(MOMENT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::fd::CloseQueue;
    use crate::sys::receive::receive;

    /// A closer's end of a link, and the worker's.
    fn pair() -> (OwnedFd, PeerFd) {
        let (closers, ours) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        (closers, CloseQueue::new().hold(Depositor::Nobody, ours))
    }

    fn connection() -> OwnedFd {
        std::os::unix::net::UnixStream::pair().unwrap().0.into()
    }

    #[test]
    fn a_kernel_that_is_short_of_something_costs_no_closer() {
        let links = CloserLinks::default();
        for errno in [Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM, Errno::AGAIN] {
            assert_eq!(links.judge(Err(errno.into())), Sent::Behind, "{errno}");
        }
        assert_eq!(links.judge(Err(Errno::PIPE.into())), Sent::Gone);
    }

    #[test]
    fn a_closer_is_told_once_that_nothing_came_after_a_connection() {
        let ((closers, ours), links) = (pair(), CloserLinks::default());
        links.keep(ours);
        assert!(links.let_go());
        for _ in 0..2 {
            links.take(Payer::named(7), connection()).unwrap();
        }
        assert!(links.let_go() && links.let_go());
        let mut brought = Vec::new();
        while let Ok(received) = receive(closers.as_fd(), &mut [0; 8], |descriptor| descriptor) {
            brought.push((received.length, received.descriptors.len()));
        }
        assert_eq!(brought, [(4, 1), (4, 1), (1, 0)]);
    }

    #[test]
    fn one_that_has_no_time_yet_is_told_later() {
        let ((closers, ours), links) = (pair(), CloserLinks::default());
        links.keep(ours);
        let sent =
            (0..10_000).take_while(|_| links.take(Payer::named(7), connection()).is_ok()).count();
        assert!(sent < 10_000, "its queue is never full");
        assert!(!links.let_go());
        receive(closers.as_fd(), &mut [0; 8], |descriptor| descriptor).unwrap();
        assert!(links.let_go());
    }
}
