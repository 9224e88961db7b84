//! The claims of a connection, and whether claims were lost with one.
//!
//! Claims end with their connection. A request that claims nothing may reconnect without notice. So
//! after that, the next request that has to do with claims fails first.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

use fdbroker_wire::{Message, Tag};

/// What a request has to do with the claims of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClaimEffect {
    /// Nothing: it counts on any connection, and is repeated on another one.
    None,
    /// It claims this tag.
    Claims(Tag),
    /// It needs a claim of this tag.
    Needs(Tag),
    /// It gives up this tag, which was claimed.
    Withdraws(Tag),
}

impl ClaimEffect {
    /// Whether a request that may have been carried out is repeated on another connection.
    pub(crate) fn repeats(self) -> bool {
        self == Self::None
    }
}

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
    pub(crate) fn check(&mut self, claim_effect: ClaimEffect) -> Result<(), Unclaimed> {
        let possible = match claim_effect {
            ClaimEffect::None => return Ok(()),
            ClaimEffect::Claims(_) => true,
            ClaimEffect::Needs(tag) | ClaimEffect::Withdraws(tag) => self.tags.contains(&tag),
        };
        if self.tell_loss() || !possible { Err(Unclaimed) } else { Ok(()) }
    }

    /// Whether there is anything that an event could be about. A loss counts as told with this.
    pub(crate) fn check_any(&mut self) -> Result<(), Unclaimed> {
        if self.tell_loss() || self.tags.is_empty() { Err(Unclaimed) } else { Ok(()) }
    }

    /// What was answered to a request; nothing, if it failed, which tells of a loss, too.
    pub(crate) fn hear(&mut self, claim_effect: ClaimEffect, answer: Option<&Message<OwnedFd>>) {
        match (claim_effect, answer) {
            (ClaimEffect::None, _) => {}
            (_, None) => drop(self.tell_loss()),
            (ClaimEffect::Claims(tag), Some(Message::Extended(_))) => drop(self.tags.insert(tag)),
            (ClaimEffect::Withdraws(tag), Some(Message::Reply(reply))) if reply.rc == 0 => {
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
