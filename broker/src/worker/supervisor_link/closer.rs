//! The way to the process that closes connections in which descriptors lie unread; see [`crate::closer`].
//!
//! It is asked for when it is first needed. From then on there is a spare one, for when it takes no more.
//! Without any, the worker closes them itself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use fdbroker_policy::Uid;
use fdbroker_wire::Control;
use tokio::sync::Notify;

use super::write::Vault;
use crate::transmit::transmit;

/// How often a closer is asked for at most.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How many are at hand: one in use, and a spare one.
const ENOUGH: usize = 2;
/// How long one may take nothing until it is given up.
const BEHIND: Duration = Duration::from_secs(1);

/// The closer that is in use, and a spare one.
#[derive(Default)]
pub(crate) struct Closer {
    links: RefCell<VecDeque<OwnedFd>>,
    /// Since when the first has taken nothing.
    behind: Cell<Option<Instant>>,
    asked: Cell<Option<Instant>>,
    wanted: Notify,
}

/// What became of a connection that was sent to a closer.
enum Sent {
    Taken,
    /// It has had no time yet for those before.
    Behind,
    /// It is full, or gone, or sleeps.
    Gone,
}

impl Closer {
    /// Has a connection of `uid` closed, or gives it back.
    pub(crate) fn take(&self, uid: Uid, socket: OwnedFd) -> Result<(), OwnedFd> {
        let mut links = self.links.borrow_mut();
        while let Some(link) = links.front() {
            match self.send(link, uid, &socket) {
                Sent::Taken => {
                    // Not the last close: the closer keeps its own until the next one comes.
                    drop(socket);
                    return Ok(());
                }
                Sent::Behind => return Err(socket),
                Sent::Gone => {
                    links.pop_front();
                    self.behind.set(None);
                    self.want();
                }
            }
        }
        self.want();
        Err(socket)
    }

    /// Goes on with another when there is no other left.
    pub(crate) fn keep(&self, link: OwnedFd) {
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

    fn send(&self, link: &OwnedFd, uid: Uid, socket: &OwnedFd) -> Sent {
        let uid = uid.0.to_ne_bytes();
        match transmit(link.as_fd(), &[IoSlice::new(&uid)], &[socket.as_fd()]) {
            Ok(_) => {
                self.behind.set(None);
                Sent::Taken
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && !self.is_stuck() => Sent::Behind,
            Err(_) => Sent::Gone,
        }
    }

    /// Whether it has taken nothing for long.
    fn is_stuck(&self) -> bool {
        let now = Instant::now();
        let since = self.behind.get().unwrap_or(now);
        self.behind.set(Some(since));
        now.duration_since(since) > BEHIND
    }

    fn want(&self) {
        let now = Instant::now();
        if self.asked.get().is_none_or(|asked| now.duration_since(asked) > ASK_AGAIN) {
            self.asked.set(Some(now));
            self.wanted.notify_one();
        }
    }
}

/// Asks the supervisor for a closer each time one is wanted. Never ends.
pub(crate) async fn ask(closer: &Closer, vault: &Vault) {
    loop {
        closer.wanted.notified().await;
        // It fails when the supervisor has gone; then this worker ends too.
        let _ = vault.pen().await.control(Control::Closer(None)).await;
    }
}
