//! Taking a tag over from its owner, and being told of who wants to take it.
//!
//! Claims belong to the connection: they end with it. So nothing here is repeated on another
//! one. When a connection with claims on it was lost, by whatever request, the next of these
//! calls says so ([`Error::is_lost`]), and a [`Broker::claim`] behind that begins anew.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fdbroker_wire::claim::{ClaimRequest, Claimed, Event, Mode};
use fdbroker_wire::{Extended, Message, Tag};

use crate::broker::{Trouble, Version};
use crate::transfer::Request;
use crate::{Broker, Error, Feature, Operation};

/// The shortest time of a claim that can be asked for.
const SHORTEST: Duration = Duration::from_millis(1);

impl Broker {
    /// Claims a tag: to own it at once if it belongs to nobody, else to take it over from its
    /// owner. `time` is how long that may take from when the turn has come until
    /// [`Broker::ready`]: 1 ms to an hour; what is beyond counts as that.
    ///
    /// # Errors
    /// [`Error::TakenOver`] to [`Mode::Again`] when the tag belongs to another process;
    /// [`Error::Unserved`], [`Error::Version1`]; or what may happen to every request.
    pub fn claim(&mut self, tag: Tag, mode: Mode, time: Duration) -> Result<Claimed, Error> {
        let operation = Operation::Claim(tag);
        if self.claims.take_loss() {
            return Err(self.lost(&operation));
        }
        let asked = ClaimRequest::Claim { tag, mode, time: time.max(SHORTEST) };
        let claimed = match self.ask_claim(&operation, asked)? {
            Message::Extended(answer) => Claimed::from_extended(answer)
                .map_err(|fault| self.protocol(&operation, fault.reason))?,
            Message::Reply(reply) => return Err(self.failed(&operation, reply)),
            _ => return Err(self.nonsense(&operation)),
        };
        if claimed.tag != tag {
            return Err(self.nonsense(&operation));
        }
        self.claims.add(tag);
        Ok(claimed)
    }

    /// As the owner of a tag that is claimed as [`Mode::Quiesced`]: lets the claimant take over
    /// what lies there now.
    ///
    /// # Errors
    /// [`Error::Failed`] (EINVAL) when nobody claims the tag; or what may happen to every request.
    pub fn release(&mut self, tag: Tag) -> Result<(), Error> {
        self.ask_of_claimed(Operation::Release(tag), tag, ClaimRequest::Release(tag))
    }

    /// As the claimant to whom the tag was granted: owns it from now on.
    ///
    /// # Errors
    /// [`Error::Failed`]: EBUSY when it was not granted yet, EINVAL when nothing is claimed; or
    /// what may happen to every request.
    pub fn ready(&mut self, tag: Tag) -> Result<(), Error> {
        self.ask_of_claimed(Operation::Ready(tag), tag, ClaimRequest::Ready(tag))
    }

    /// Neither claims nor owns the tag any more. A claimant, if there is one, owns it then.
    ///
    /// # Errors
    /// [`Error::Failed`] (EINVAL) when it neither claims nor owns it; or what may happen to every
    /// request.
    pub fn withdraw(&mut self, tag: Tag) -> Result<(), Error> {
        self.ask_of_claimed(Operation::Withdraw(tag), tag, ClaimRequest::Withdraw(tag))?;
        self.claims.remove(tag);
        Ok(())
    }

    /// Waits for the next event of a tag that was claimed here; none when patience has ended.
    /// Without one, it waits as long as it takes. Of each tag only the latest event is kept.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection is lost, or nothing is claimed on it.
    pub fn event(&mut self, patience: Option<Duration>) -> Result<Option<Event>, Error> {
        self.wait_for_event(patience.and_then(|patience| Instant::now().checked_add(patience)))
    }

    /// The next event, if one has come: never waits.
    ///
    /// # Errors
    /// As [`Broker::event`].
    pub fn pending_event(&mut self) -> Result<Option<Event>, Error> {
        self.wait_for_event(Some(Instant::now()))
    }

    fn wait_for_event(&mut self, end: Option<Instant>) -> Result<Option<Event>, Error> {
        let operation = Operation::Event;
        if self.claims.take_loss() || self.claims.is_empty() {
            return Err(self.lost(&operation));
        }
        self.connection.event(end).map_err(|failure| {
            self.end();
            self.claims.take_loss();
            Trouble::of_exchange(self.attempt(&operation), failure).into_error()
        })
    }

    fn ask_of_claimed(
        &mut self,
        operation: Operation,
        tag: Tag,
        asked: ClaimRequest,
    ) -> Result<(), Error> {
        if self.claims.take_loss() || !self.claims.contain(tag) {
            return Err(self.lost(&operation));
        }
        match self.ask_claim(&operation, asked)? {
            Message::Reply(reply) => self.done(&operation, reply),
            _ => Err(self.nonsense(&operation)),
        }
    }

    fn ask_claim(
        &mut self,
        operation: &Operation,
        asked: ClaimRequest,
    ) -> Result<Message<OwnedFd>, Error> {
        let message: Extended<OwnedFd> = asked.into_extended();
        let request = Request { head: &message.head(), payload: &message.body, descriptors: &[] };
        let answer = self.ask(operation, request, Version::Two(Feature::Claim));
        if answer.is_err() {
            // If the connection was lost, this error tells it.
            self.claims.take_loss();
        }
        Ok(answer?.message)
    }

    fn lost(&self, operation: &Operation) -> Error {
        let source = io::Error::new(io::ErrorKind::NotConnected, NO_CLAIM);
        Error::Broken { attempt: self.attempt(operation), source }
    }
}

const NO_CLAIM: &str = "nothing is claimed on this connection, or it was lost with what was";

/// What was claimed on the present connection, and whether an earlier one was lost with claims
/// of which that has not been said.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    tags: BTreeSet<Tag>,
    lost: bool,
}

impl Claims {
    /// The connection has ended.
    pub(crate) fn end(&mut self) {
        self.lost |= !self.tags.is_empty();
        self.tags.clear();
    }

    /// Whether there is a loss to tell of; it counts as told now.
    pub(crate) fn take_loss(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    pub(crate) fn add(&mut self, tag: Tag) {
        self.tags.insert(tag);
    }

    pub(crate) fn remove(&mut self, tag: Tag) {
        self.tags.remove(&tag);
    }

    pub(crate) fn contain(&self, tag: Tag) -> bool {
        self.tags.contains(&tag)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }
}
