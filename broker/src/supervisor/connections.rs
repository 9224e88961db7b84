//! Duplicates of the worker's connections, to be shut down when it is gone.
//!
//! Clients reconnect when their connection ends. It ends with the worker, unless a thread of the
//! worker sleeps in close(2) for ever: that thread keeps every descriptor of the process open.
//!
//! A duplicate is closed on its user's account, and can wait there for long. So the worker is told when
//! that has been done, and until then the connection counts.

use std::collections::HashMap;
use std::mem;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fdbroker_policy::Uid;
use fdbroker_wire::Joined;
use rustix::net::sockopt::socket_domain;
use rustix::net::{AddressFamily, Shutdown, shutdown};
use rustix::process::{Resource, getrlimit};

use crate::fd::PeerFd;

/// The part of the descriptor table that connections may have: as much as in the worker.
const PART: u64 = 8;

/// The connections of the worker that runs now.
pub(super) struct Connections {
    open: HashMap<u32, PeerFd>,
    /// Those that have ended and are closed. The next worker's are told in another list.
    parted: Parted,
    limit: usize,
}

/// Numbers of connections whose duplicate is closed, told by the threads that close.
#[derive(Clone, Default)]
struct Parted(Arc<Mutex<Vec<u32>>>);

/// Stands for a duplicate. When it is dropped, that is closed.
struct Notice {
    number: u32,
    parted: Parted,
}

impl Parted {
    /// A panic while it is locked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.parted.lock().push(self.number);
    }
}

impl Connections {
    /// For a table of the size that this process has.
    pub(super) fn new() -> Self {
        let table = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let limit = usize::try_from(table / PART).unwrap_or(usize::MAX).max(4);
        Self { open: HashMap::new(), parted: Parted::default(), limit }
    }

    /// Keeps new ones, and drops those that have ended. What is no Unix socket is not kept:
    /// shutting it down could sleep.
    ///
    /// # Errors
    /// What is wrong with the worker, which has more than it may.
    pub(super) fn update(
        &mut self,
        joined: Vec<Joined<PeerFd>>,
        left: &[u32],
    ) -> Result<(), String> {
        left.iter().for_each(|number| self.part(*number));
        for Joined { number, uid, mut socket } in joined {
            socket.move_to(Uid(uid));
            if self.open.len() >= self.limit {
                return Err(format!("it has more than {} connections", self.limit));
            }
            if socket.descriptor().is_some_and(is_unix) {
                self.open.insert(number, socket);
            }
        }
        Ok(())
    }

    /// Closes the duplicate of one that has ended.
    fn part(&mut self, number: u32) {
        match self.open.remove(&number) {
            Some(mut socket) => {
                socket.keep_until_closed(Notice { number, parted: self.parted.clone() });
            }
            // It was not kept.
            None => self.parted.lock().push(number),
        }
    }

    /// Takes the numbers of those that have ended and are closed.
    pub(super) fn take_parted(&self) -> Vec<u32> {
        mem::take(&mut *self.parted.lock())
    }

    /// Ends all of them: their clients connect again.
    pub(super) fn shut_down(&mut self) {
        self.parted = Parted::default();
        for socket in self.open.values().filter_map(PeerFd::descriptor) {
            // It fails when the client has gone: then there is nothing to end.
            let _ = shutdown(socket, Shutdown::Both);
        }
        self.open.clear();
    }
}

fn is_unix(socket: BorrowedFd<'_>) -> bool {
    socket_domain(socket).is_ok_and(|domain| domain == AddressFamily::UNIX)
}
