//! A session's outgoing side: answers, each in one sendmsg(2) where it fits.
//!
//! Descriptors that were sent and lie unread count against the worker's user, for all peers
//! together (unix(7), ETOOMANYREFS). So each session may have only a few lie unread: the next
//! one waits until the peer has read, and a peer that does not read in time is cut off.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::vault::{RETRY, too_many_in_flight};
use crate::sys::socket::unread;
use crate::sys::watch::Watched;
use crate::transmit::transmit;

/// How many descriptors may lie unread on one connection.
const MAX_UNREAD: u32 = 8;

/// What a peer is sent.
pub(crate) struct Outbox {
    stream: Rc<Watched>,
    /// Descriptors sent since the peer was last seen to have read everything.
    unread: u32,
    patience: Duration,
}

impl Outbox {
    pub(crate) fn new(stream: Rc<Watched>, patience: Duration) -> Self {
        Self { stream, unread: 0, patience }
    }

    /// Sends an answer: `head`, then `payload`, with `descriptor` on the first byte.
    ///
    /// # Errors
    /// When the peer has left, or does not read in time (TimedOut).
    pub(crate) async fn send(
        &mut self,
        head: &[u8],
        payload: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        if descriptor.is_none() || self.may_send_more()? {
            // Nearly always there is room, and no timer is needed.
            match self.attempt(head, payload, descriptor) {
                Ok(sent) if sent == head.len() + payload.len() => return Ok(()),
                Ok(sent) => return self.finish(head, payload, sent, None).await,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if too_many_in_flight(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.finish(head, payload, 0, descriptor).await
    }

    async fn finish(
        &mut self,
        head: &[u8],
        payload: &[u8],
        sent: usize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let patience = self.patience;
        let all = self.send_all(head, payload, sent, descriptor);
        timeout(patience, all).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
    }

    async fn send_all(
        &mut self,
        head: &[u8],
        payload: &[u8],
        mut sent: usize,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        if descriptor.is_some() && !self.may_send_more()? {
            self.drained().await?;
        }
        while sent < head.len() + payload.len() {
            let first = descriptor.filter(|_| sent == 0);
            let parts = rest(head, payload, sent);
            match self.stream.write(|socket| transmit(socket, &parts, first)).await {
                Ok(more) => sent += more,
                Err(error) if too_many_in_flight(&error) => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error),
            }
        }
        self.count(descriptor);
        Ok(())
    }

    fn attempt(
        &mut self,
        head: &[u8],
        payload: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<usize> {
        let sent = transmit(self.stream.as_fd(), &rest(head, payload, 0), descriptor)?;
        self.count(descriptor);
        Ok(sent)
    }

    fn count(&mut self, descriptor: Option<BorrowedFd<'_>>) {
        self.unread += u32::from(descriptor.is_some());
    }

    /// Whether one more descriptor may lie unread.
    fn may_send_more(&mut self) -> io::Result<bool> {
        if self.unread >= MAX_UNREAD && unread(self.stream.as_fd())? == 0 {
            self.unread = 0;
        }
        Ok(self.unread < MAX_UNREAD)
    }

    /// Waits until the peer has read everything: each time it reads, the kernel says that there
    /// is room again.
    async fn drained(&mut self) -> io::Result<()> {
        let empty = |socket: BorrowedFd<'_>| match unread(socket)? {
            0 => Ok(()),
            _ => Err(ErrorKind::WouldBlock.into()),
        };
        self.stream.write(empty).await?;
        self.unread = 0;
        Ok(())
    }
}

/// What is left of an answer after its first `sent` bytes.
fn rest<'a>(head: &'a [u8], payload: &'a [u8], sent: usize) -> [IoSlice<'a>; 2] {
    let from_payload = sent.saturating_sub(head.len()).min(payload.len());
    [IoSlice::new(&head[sent.min(head.len())..]), IoSlice::new(&payload[from_payload..])]
}
