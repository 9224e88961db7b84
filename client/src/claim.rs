//! Taking a tag over from its owner, and being told of who wants to take it.
//!
//! Claims belong to the connection: they end with it. So nothing here is repeated on another
//! one. When a connection with claims on it was lost, by whatever request, the next of these
//! calls says so ([`Error::is_lost`]), and a [`Broker::claim`] behind that begins anew.

use std::time::{Duration, Instant};

use fdbroker_wire::Tag;
use fdbroker_wire::claim::{Claimed, Event, Mode};

use crate::claims::Unclaimed;
use crate::question::claim::{Claim, OfClaimed};
use crate::trouble::Trouble;
use crate::{Broker, Error, Operation};

impl Broker {
    /// Claims a tag: to own it at once if it belongs to nobody, else to take it over from its
    /// owner. `time` is how long that may take from when the turn has come until
    /// [`Broker::ready`]: 1 ms to an hour; what is beyond counts as that.
    ///
    /// # Errors
    /// [`Error::TakenOver`] to [`Mode::Again`] when the tag belongs to another process;
    /// [`Error::Unserved`], [`Error::Version1`]; or what may happen to every request.
    pub fn claim(&mut self, tag: Tag, mode: Mode, time: Duration) -> Result<Claimed, Error> {
        self.run(Claim::new(tag, mode, time))
    }

    /// [`Broker::claim`], and to settle first once the tag is one's own: whoever claims it then
    /// waits until [`Broker::ready`] was said by its owner, again if it was said by the claimant
    /// already; at most as long as `time`. So what the new owner brings is there before the next one
    /// looks.
    ///
    /// # Errors
    /// Those of [`Broker::claim`].
    pub fn claim_and_settle(
        &mut self,
        tag: Tag,
        mode: Mode,
        time: Duration,
    ) -> Result<Claimed, Error> {
        self.run(Claim::settling(tag, mode, time))
    }

    /// As the owner of a tag that is claimed as [`Mode::Quiesced`]: lets the claimant take over
    /// what lies there now, whichever claims it: see [`Broker::release_to`].
    ///
    /// # Errors
    /// [`Error::Failed`] (EINVAL) when nobody claims the tag; or what may happen to every request.
    pub fn release(&mut self, tag: Tag) -> Result<(), Error> {
        self.run(OfClaimed::release(tag))
    }

    /// [`Broker::release`] to one claim and no other, by the number that its [`Event`] has: it may
    /// have ended meanwhile, and another one may have begun.
    ///
    /// # Errors
    /// [`Error::Failed`] (EINVAL) when it has ended; or what may happen to every request.
    pub fn release_to(&mut self, tag: Tag, claim: i32) -> Result<(), Error> {
        self.run(OfClaimed::release_to(tag, claim))
    }

    /// As the claimant to whom the tag was granted: owns it from now on. As its owner: has settled
    /// (see [`Broker::claim_and_settle`]).
    ///
    /// # Errors
    /// [`Error::Failed`]: EBUSY when it was not granted yet, EINVAL when nothing is claimed; or
    /// what may happen to every request.
    pub fn ready(&mut self, tag: Tag) -> Result<(), Error> {
        self.run(OfClaimed::ready(tag))
    }

    /// Neither claims nor owns the tag any more. A claimant, if there is one, owns it then.
    ///
    /// # Errors
    /// [`Error::Failed`] (EINVAL) when it neither claims nor owns it; or what may happen to every
    /// request.
    pub fn withdraw(&mut self, tag: Tag) -> Result<(), Error> {
        self.run(OfClaimed::withdraw(tag))
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
        if let Err(lost) = self.claims.check_any() {
            return Err(self.unclaimed(Operation::Event, lost).into_error());
        }
        self.connection.event(end).map_err(|failure| {
            self.end();
            self.claims.tell_loss();
            let attempt = self.place(false).attempt(Operation::Event);
            Trouble::of_exchange(attempt, failure).into_error()
        })
    }

    /// What is asked of a claim that this connection does not have.
    pub(crate) fn unclaimed(&self, operation: Operation, Unclaimed: Unclaimed) -> Trouble {
        let attempt = self.place(false).attempt(operation);
        Trouble::Lasting(Error::Broken { attempt, source: Unclaimed.into() })
    }
}
