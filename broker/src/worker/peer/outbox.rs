//! A session's outgoing side: answers, each in one sendmsg(2) where it fits.
//!
//! A peer that leaves descriptors unread gets its next answer when it has read them. A peer that
//! does not read in time is cut off: see [`crate::worker::limits::in_flight`].

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::{Shutdown, shutdown};
use tokio::time::timeout;

use crate::look::look;
use crate::sys::socket::unread;
use crate::sys::watch::Watched;
use crate::transmit::{RETRY, rest, too_many_in_flight, transmit};
use crate::worker::limits::in_flight::{LOOK_AGAIN, Ledger};
use crate::worker::limits::quota::Reader;

/// How seldom a connection is looked at whose peer holds it and reads nothing.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How much may lie unread, in bytes of the kernel's memory, that events are still sent: a few small
/// answers. So a peer that does not read is neither flooded with events nor cut off for them.
const ROOM_FOR_EVENTS: usize = 16 * 1024;

/// What a peer is sent.
pub(crate) struct Outbox {
    stream: Rc<Watched>,
    ledger: Rc<Ledger>,
    /// The account of the peer's user.
    reader: Reader,
    patience: Duration,
}

impl Outbox {
    pub(crate) fn new(
        stream: Rc<Watched>,
        ledger: Rc<Ledger>,
        reader: Reader,
        patience: Duration,
    ) -> Self {
        Self { stream, ledger, reader, patience }
    }

    /// Sends an answer: `head`, then `payload`, with `descriptors` on the first byte.
    ///
    /// # Errors
    /// When the peer has left; when it does not read in time (TimedOut); or when so many
    /// descriptors lie unread with others that none could be sent in time (ETOOMANYREFS).
    pub(crate) async fn send(
        &mut self,
        head: &[u8],
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let sent = self.send_in_time(head, payload, descriptors).await;
        self.ledger.free_room();
        sent
    }

    async fn send_in_time(
        &mut self,
        head: &[u8],
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        if self.ledger.may_send(descriptors.len())? {
            // Nearly always there is room, and no timer is needed.
            match self.attempt(head, payload, descriptors) {
                Ok(sent) if sent == head.len() + payload.len() => return Ok(()),
                Ok(sent) => return self.finish(head, payload, sent, &[]).await,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if too_many_in_flight(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.finish(head, payload, 0, descriptors).await
    }

    async fn finish(
        &mut self,
        head: &[u8],
        payload: &[u8],
        sent: usize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let patience = self.patience;
        let mut crowded = false;
        let all = self.send_all(head, payload, sent, descriptors, &mut crowded);
        match timeout(patience, all).await {
            Ok(result) => result,
            Err(_) if crowded => Err(rustix::io::Errno::TOOMANYREFS.into()),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }

    async fn send_all(
        &mut self,
        head: &[u8],
        payload: &[u8],
        mut sent: usize,
        descriptors: &[BorrowedFd<'_>],
        crowded: &mut bool,
    ) -> io::Result<()> {
        while !self.ledger.may_send(descriptors.len())? {
            *crowded = self.ledger.is_crowded(descriptors.len());
            self.some_are_read().await?;
        }
        while sent < head.len() + payload.len() {
            let first = if sent == 0 { descriptors } else { &[] };
            let parts = rest([head, payload], sent);
            let charge = || self.reader.charge();
            match self.stream.write(|socket| transmit(socket, &parts, first), charge).await {
                Ok(more) => {
                    self.ledger.sent(first.len());
                    sent += more;
                }
                Err(error) if too_many_in_flight(&error) => {
                    *crowded = true;
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        head: &[u8],
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        let sent = transmit(self.stream.as_fd(), &rest([head, payload], 0), descriptors)?;
        self.ledger.sent(descriptors.len());
        Ok(sent)
    }

    /// Keeps room for so many descriptors in the next message.
    pub(crate) fn keep_room(&self, descriptors: usize) {
        self.ledger.keep_room(descriptors);
    }

    /// How many descriptors one message may carry now: see [`Ledger::most_at_once`].
    pub(crate) fn most_at_once(&self) -> usize {
        self.ledger.most_at_once()
    }

    /// Whether so little lies unread that events may be sent.
    pub(crate) fn has_room_for_events(&self) -> bool {
        // When the kernel does not tell, sending fails too, and that ends the session.
        unread(self.stream.as_fd()).map_or(true, |unread| unread <= ROOM_FOR_EVENTS)
    }

    /// Waits until so little lies unread that events may be sent. Can be dropped.
    pub(crate) async fn room_for_events(&self) {
        let mut pause = LOOK_AGAIN;
        while !self.has_room_for_events() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits until the peer has read everything; or, when it is the same user's other connections
    /// that are full, for a moment.
    async fn some_are_read(&self) -> io::Result<()> {
        if self.ledger.is_drained()? {
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(());
        }
        self.drained().await
    }

    /// Waits until the peer has read everything: each time it reads, the kernel says that there is
    /// room again.
    ///
    /// A peer that shuts both directions and reads nothing would say so without end: it has left.
    async fn drained(&self) -> io::Result<()> {
        let drained = |socket: BorrowedFd<'_>| match self.ledger.is_drained()? {
            true => Ok(()),
            false if is_shut(socket) => Err(ErrorKind::BrokenPipe.into()),
            false => Err(ErrorKind::WouldBlock.into()),
        };
        self.stream.write(drained, || self.reader.charge()).await
    }

    /// Ends the connection, and waits until no descriptor lies unread on it: until then it counts
    /// as its user's, or cutting off would set free what it is to bound.
    pub(crate) async fn end(self) {
        // It fails when the peer has gone: then there is nothing left to end.
        let _ = shutdown(self.stream.as_fd(), Shutdown::Both);
        let mut pause = LOOK_AGAIN;
        while self.ledger.is_drained().is_ok_and(|drained| !drained) {
            // Of a connection that is shut, no event tells what is still read.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether both directions of a connection are shut.
fn is_shut(socket: BorrowedFd<'_>) -> bool {
    look(socket, PollFlags::empty()).map_or(true, |found| found.contains(PollFlags::HUP))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use fdbroker_policy::Settings;

    use super::*;
    use crate::payer::Payer;
    use crate::worker::limits::in_flight::InFlight;
    use crate::worker::limits::quota::Quotas;

    const ROUNDS: usize = 50_000;
    const PATIENCE: Duration = Duration::from_secs(5);

    /// The kernel says that there is room before it has given back all of a message's memory.
    #[tokio::test]
    async fn a_peer_that_reads_everything_is_never_taken_for_one_that_does_not() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let stream = Rc::new(Watched::new(ours.into()).unwrap());
        let ledger = InFlight::new(1000).ledger(Payer::named(1), &stream);
        let reader = Quotas::new(&Settings::default(), 1000).reader(Payer::named(1));
        let mut outbox = Outbox::new(stream, ledger, reader, PATIENCE);
        let reads =
            std::thread::spawn(move || (0..ROUNDS).all(|_| theirs.read_exact(&mut [0]).is_ok()));
        let sent = std::fs::File::open("/dev/null").unwrap();
        for _ in 0..ROUNDS {
            // As many as may lie unread: before the next the peer has read everything.
            outbox.send(b"x", b"", &[sent.as_fd(); 8]).await.unwrap();
        }
        assert!(reads.join().unwrap());
    }
}
