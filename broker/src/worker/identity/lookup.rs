//! Looking processes up in /proc, away from the event loop: that takes the longer the more groups a
//! process is in, and up to 10 ms.

use std::os::fd::OwnedFd;

use tokio::sync::Semaphore;

use super::{Seen, Unreadable};
use crate::payer::Payer;
use crate::sys::receive::Sender;
use crate::worker::limits::users::Users;

/// How many processes are looked up at once, each on a thread.
const AT_ONCE: usize = 2;
/// How many of these for the connections of one user; others of it wait.
const FOR_ONE_USER: usize = 1;
/// What is under way, by whose connection asks for it.
pub(crate) struct Lookups {
    all: Semaphore,
    users: Users<Semaphore>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { all: Semaphore::new(AT_ONCE), users: Users::default() }
    }
}

impl Lookups {
    /// Looks up the process that wrote a message on a connection of `payer`'s, which is `process` where
    /// the kernel has named it.
    ///
    /// # Errors
    /// As [`Seen::read`].
    pub(crate) async fn read(
        &self,
        payer: Payer,
        sender: Sender,
        process: Option<OwnedFd>,
    ) -> Result<Seen, Unreadable> {
        let user = self.users.of(payer, || Semaphore::new(FOR_ONE_USER));
        // They are never closed.
        let _first = user.acquire().await.map_err(|_| Unreadable::NOT_READ)?;
        let _then = self.all.acquire().await.map_err(|_| Unreadable::NOT_READ)?;
        let read = tokio::task::spawn_blocking(move || Seen::read(sender, process));
        read.await.map_err(|_| Unreadable::NOT_READ)?
    }
}
