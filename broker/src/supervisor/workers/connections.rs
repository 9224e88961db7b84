//! Duplicates of the worker's connections, to be shut down when it is gone.
//!
//! Clients reconnect when their connection ends. It ends with the worker, unless a thread of the
//! worker sleeps in close(2) for ever: that thread keeps every descriptor of the process open.
//!
//! A duplicate is closed on its user's account, and can wait there for long. So the worker is told when
//! that has been done, and until then the connection counts: also with the next worker.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use fdbroker_wire::Joined;
use rustix::net::sockopt::socket_domain;
use rustix::net::{AddressFamily, Shutdown, shutdown};

use crate::fd::{Depositor, PeerFd, table};
use crate::payer::Payer;
use crate::supervisor::deposits::unclosed::Unclosed;

/// The part of the descriptor table that connections may have: as much as in the worker.
const PART: u64 = 8;

/// The connections of the worker that runs now.
pub(crate) struct ConnectionCopies {
    open: HashMap<u32, (Payer, PeerFd)>,
    /// Told which have ended: until they have been closed, the worker has them on their users' accounts.
    unclosed: Unclosed,
    limit: usize,
}

impl ConnectionCopies {
    /// For a table of the size that this process has.
    pub(crate) fn new(unclosed: Unclosed) -> Self {
        Self { open: HashMap::new(), unclosed, limit: table::part(PART) }
    }

    /// Keeps new ones, and drops those that have ended. What is no Unix socket is not kept:
    /// shutting it down could sleep.
    ///
    /// # Errors
    /// What is wrong with the worker, which has more than it may.
    pub(crate) fn update(
        &mut self,
        joined: Vec<Joined<PeerFd>>,
        left: &[u32],
    ) -> Result<(), String> {
        left.iter().for_each(|number| self.part(*number));
        for Joined { number, uid, mut socket } in joined {
            // The worker names who pays. To connect takes no right.
            let payer = Payer::named(uid);
            socket.move_to(Depositor::Brought(payer));
            if self.open.len() >= self.limit {
                return Err(format!("it has more than {} connections", self.limit));
            }
            if socket.descriptor().is_some_and(is_unix) {
                self.open.insert(number, (payer, socket));
            }
        }
        Ok(())
    }

    /// Closes the duplicate of one that has ended.
    fn part(&mut self, number: u32) {
        match self.open.remove(&number) {
            Some((payer, mut socket)) => {
                socket.keep_until_closed(self.unclosed.connection(payer, number));
            }
            // It was not kept.
            None => self.unclosed.parted(number),
        }
    }

    /// Ends all of them: their clients connect again.
    pub(crate) fn shut_down(&mut self) {
        // Before any of them is closed, which can keep others waiting.
        for socket in self.open.values().filter_map(|(_, socket)| socket.descriptor()) {
            // It fails when the client has gone: then there is nothing to end.
            let _ = shutdown(socket, Shutdown::Both);
        }
        for (number, (payer, mut socket)) in self.open.drain() {
            socket.keep_until_closed(self.unclosed.connection(payer, number));
        }
    }
}

fn is_unix(socket: BorrowedFd<'_>) -> bool {
    socket_domain(socket).is_ok_and(|domain| domain == AddressFamily::UNIX)
}
