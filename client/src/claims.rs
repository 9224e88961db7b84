//! What is claimed on a connection, and whether claims were lost with one.
//!
//! Claims end with their connection. Since a connection may be lost and made anew without notice,
//! by a request that claims nothing, the next one that has to do with claims fails first.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

use fdbroker_wire::{Message, Tag};

use crate::question::Bond;

/// The claims of the present connection.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    tags: BTreeSet<Tag>,
    /// An earlier connection was lost with claims on it, and that has not been told.
    lost: bool,
}

/// Nothing of the kind is claimed on this connection, or an earlier one was lost with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unclaimed;

impl Claims {
    /// Whether a request can be made. A loss counts as told with this.
    pub(crate) fn check(&mut self, bond: Bond) -> Result<(), Unclaimed> {
        let possible = match bond {
            Bond::Free => return Ok(()),
            Bond::Claims(_) => true,
            Bond::Claimed(tag) | Bond::Withdraws(tag) => self.tags.contains(&tag),
        };
        if self.tell_loss() || !possible { Err(Unclaimed) } else { Ok(()) }
    }

    /// Whether there is anything that an event could be about. A loss counts as told with this.
    pub(crate) fn check_any(&mut self) -> Result<(), Unclaimed> {
        if self.tell_loss() || self.tags.is_empty() { Err(Unclaimed) } else { Ok(()) }
    }

    /// What was answered to a request; nothing, if it failed, which tells of a loss, too.
    pub(crate) fn hear(&mut self, bond: Bond, answer: Option<&Message<OwnedFd>>) {
        match (bond, answer) {
            (Bond::Free, _) => {}
            (_, None) => drop(self.tell_loss()),
            (Bond::Claims(tag), Some(Message::Extended(_))) => drop(self.tags.insert(tag)),
            (Bond::Withdraws(tag), Some(Message::Reply(reply))) if reply.rc == 0 => {
                self.tags.remove(&tag);
            }
            _ => {}
        }
    }

    /// The connection has ended.
    pub(crate) fn end(&mut self) {
        self.lost |= !self.tags.is_empty();
        self.tags.clear();
    }

    /// Whether there was a loss to tell of; it counts as told now.
    pub(crate) fn tell_loss(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }
}

impl From<Unclaimed> for io::Error {
    fn from(Unclaimed: Unclaimed) -> Self {
        Self::new(
            io::ErrorKind::NotConnected,
            "nothing is claimed on this connection, or what was claimed was lost with an earlier one",
        )
    }
}
