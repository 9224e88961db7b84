//! The events of the tags that a session has claimed.

use std::time::{Duration, Instant};

use fdbroker_wire::claim::Event;

use super::Broker;
use crate::core::claims::Unclaimed;
use crate::core::retry_class::RetryClass;
use crate::{Error, Operation};

impl Broker {
    /// Waits for the next event of a tag that was claimed here. Returns `None` if none came within
    /// `patience`; without it, waits as long as it takes. Of each tag only the latest event is kept.
    ///
    /// Claims end with their connection, and are not repeated on another one. If a connection with
    /// claims on it was lost, by whatever request, the next call that needs a claim fails
    /// ([`Error::is_lost`]). A [`claim`](Self::claim) after that begins again.
    ///
    /// # Errors
    /// [`Error::Broken`] if the connection is lost, or nothing is claimed on it.
    pub fn event(&mut self, patience: Option<Duration>) -> Result<Option<Event>, Error> {
        self.wait_for_event(patience.and_then(|patience| Instant::now().checked_add(patience)))
    }

    /// Returns the next event, if one has come; never waits.
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
            let attempt = self.context(false).attempt(Operation::Event);
            RetryClass::of_exchange(attempt, failure).into_error()
        })
    }

    /// What is asked of a claim that this connection does not have.
    pub(crate) fn unclaimed(&self, operation: Operation, Unclaimed: Unclaimed) -> RetryClass {
        let attempt = self.context(false).attempt(operation);
        RetryClass::Permanent(Error::Broken { attempt, source: Unclaimed.into() })
    }
}
