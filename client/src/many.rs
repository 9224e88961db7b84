//! Many slots of a tag at once: as many as one likes, split into messages of up to 253 slots.
//!
//! Each slot has an outcome of its own. A message that has to be repeated since the broker was
//! restarted counts as the single requests of [`Broker`] do.

use fdbroker_wire::{Index, Tag};

use crate::question::many::{AddMany, DelMany, GetMany};
use crate::{Broker, Error, ManyDeposits, NewDeposit};

impl Broker {
    /// Gets what is in many slots; it stays there.
    ///
    /// # Errors
    /// What may happen to every request, for all of them; each slot may be refused or absent by
    /// itself.
    pub fn get_many(&mut self, tag: Tag, indices: &[Index]) -> Result<ManyDeposits, Error> {
        self.run(GetMany::new(tag, indices, false))
    }

    /// Gets what is in many slots, and deletes it there: in one step for everybody else, once the
    /// answer has been sent. What was not got is still there; what was sent and found no room here, or
    /// was never read, is lost.
    ///
    /// # Errors
    /// As [`Broker::get_many`]; each slot takes the rights of a get and of a delete.
    pub fn take_many(&mut self, tag: Tag, indices: &[Index]) -> Result<ManyDeposits, Error> {
        self.run(GetMany::new(tag, indices, true))
    }

    /// Deposits in many slots, each in the place of what it held.
    ///
    /// # Errors
    /// [`Error::TooLarge`] before anything is sent; what may happen to every request, for all of
    /// them; each slot may be refused by itself.
    pub fn add_many(
        &mut self,
        tag: Tag,
        deposits: &[NewDeposit<'_>],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.run(AddMany::new(tag, deposits))
    }

    /// Deletes what is in many slots.
    ///
    /// # Errors
    /// What may happen to every request, for all of them; each slot may be refused or absent by
    /// itself.
    pub fn del_many(
        &mut self,
        tag: Tag,
        indices: &[Index],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.run(DelMany::new(tag, indices))
    }
}
