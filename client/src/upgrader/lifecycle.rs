//! Becoming the owner, and waiting for the next one.

use std::time::{Duration, Instant};

use fdbroker_wire::Errno;

use super::due::{NotDone, delete_all, deposit_all};
use super::inventory::Inventory;
use super::shared::{Guard, refused};
use super::snapshot::fetch;
use super::state_machine::{Happening, Stage};
use super::{UpgradeError, Upgrader};
use crate::{Broker, Error};

/// How long to wait before looking again for what no event tells.
const SHORT: Duration = Duration::from_millis(20);

impl Upgrader {
    /// This process serves: it owns the tag from now on, and its predecessor is told so. Then
    /// what was added is deposited, and what was inherited and never asked for is closed.
    ///
    /// After an error the same may be asked again: what is done is not done twice.
    ///
    /// # Errors
    /// [`UpgradeError::TimedOut`] when the time is over: the predecessor serves on.
    /// [`UpgradeError::Changed`]: the program has to start again. [`UpgradeError::Completed`]
    /// when the next process was faster. [`UpgradeError::Deposit`] when the broker does not take
    /// or delete something; the tag is this process's then. [`UpgradeError::Stopped`],
    /// [`UpgradeError::Broker`], [`UpgradeError::Lost`].
    pub fn ready(&self) -> Result<(), UpgradeError> {
        let mut state = self.own(self.shared.lock())?;
        if matches!(state.machine.stage(), Stage::Serving) {
            return Ok(());
        }
        state.inventory.unwant_what_was_not_asked_for();
        state = self.bring_up_to_date(state)?;
        state = self.settle(state)?;
        state.machine.advance(Stage::Serving);
        self.shared.tell(&state);
        Ok(())
    }

    /// Waits until another process has taken over: what this one still has to do is to finish
    /// what it has begun, and to end.
    ///
    /// # Errors
    /// [`UpgradeError::Stopped`] when [`Upgrader::stop`] was called, or what else ended it.
    pub fn upgrade_complete(&self) -> Result<(), UpgradeError> {
        let mut state = self.shared.lock();
        while !matches!(state.machine.stage(), Stage::Completed) {
            state.machine.is_alive()?;
            state = self.shared.wait(state, None);
        }
        Ok(())
    }

    /// Waits for what happens next. Of what has happened unseen, only the latest is told, and
    /// before it [`Happening::Forgotten`].
    ///
    /// # Errors
    /// What ended the upgrader, but for [`Happening::Completed`] and [`Happening::Stopped`].
    pub fn next(&self) -> Result<Happening, UpgradeError> {
        let mut state = self.shared.lock();
        loop {
            if let Some(happening) = state.machine.news() {
                return Ok(happening);
            }
            state.machine.is_alive()?;
            state = self.shared.wait(state, None);
        }
    }

    /// What has happened and was not told yet; never waits.
    ///
    /// # Errors
    /// As [`Upgrader::next`].
    pub fn try_next(&self) -> Result<Option<Happening>, UpgradeError> {
        let mut state = self.shared.lock();
        match state.machine.news() {
            Some(happening) => Ok(Some(happening)),
            None => state.machine.is_alive().map(|()| None),
        }
    }

    /// This process has stopped, and what it stored is as the next one needs it: the process that
    /// claims the tag as [`crate::Mode::Quiesced`] may go on. From now on nothing may be stored,
    /// until [`Happening::Withdrawn`].
    ///
    /// # Errors
    /// [`UpgradeError::Unclaimed`] when nobody claims the tag, or not any more.
    pub fn release(&self) -> Result<(), UpgradeError> {
        let mut state = self.shared.lock();
        let tag = state.terms.tag;
        state.machine.is_alive()?;
        let claim = state.machine.release().ok_or(UpgradeError::Unclaimed { tag })?;
        let release = |broker: &mut Broker, _: &mut Inventory| match broker.release_to(tag, claim) {
            Err(error) if error.errno() == Some(Errno::INVAL) => Ok(false),
            released => released.map(|()| true),
        };
        let (state, released) = self.shared.ask(state, |machine| machine.is_alive(), release)?;
        // If the connection was lost in between, the claim is another one, or is still to come: the
        // watcher releases it again.
        match released || state.machine.is_fixed() {
            true => Ok(()),
            false => Err(UpgradeError::Unclaimed { tag }),
        }
    }

    /// Makes the tag this process's own.
    fn own<'a>(&'a self, mut state: Guard<'a>) -> Result<Guard<'a>, UpgradeError> {
        loop {
            state.machine.is_alive()?;
            state = match state.machine.stage() {
                Stage::Waiting => self.shared.wait_on_link(state)?,
                Stage::Granted if state.doubtful => self.compare(state)?,
                Stage::Granted => self.say_ready(state)?,
                // Owned, or serving already.
                _ if state.doubtful => self.compare(state)?,
                _ => return Ok(state),
            };
        }
    }

    fn say_ready<'a>(&'a self, state: Guard<'a>) -> Result<Guard<'a>, UpgradeError> {
        let tag = state.terms.tag;
        let ready = |broker: &mut Broker, _: &mut Inventory| match broker.ready(tag) {
            Err(error) if error.errno() == Some(Errno::BUSY) => Ok(false),
            said => said.map(|()| true),
        };
        // On a new connection the claim may not have been granted yet, or be in doubt.
        let granted = |machine: &super::state_machine::StateMachine| machine.is_alive();
        let (mut state, done) = self.shared.ask(state, granted, ready)?;
        match done {
            true => state.machine.advance(Stage::Owned),
            false => state = self.shared.wait(state, Some(Instant::now() + SHORT)),
        }
        Ok(state)
    }

    /// Lets others claim the tag.
    fn settle<'a>(&'a self, state: Guard<'a>) -> Result<Guard<'a>, UpgradeError> {
        let tag = state.terms.tag;
        let settled = |broker: &mut Broker, _: &mut Inventory| broker.ready(tag);
        let (state, ()) = self.shared.ask(state, |machine| machine.is_alive(), settled)?;
        Ok(state)
    }

    /// Checks whether the inherited deposits are still there: the claim was made again, and another
    /// process may have been faster.
    fn compare<'a>(&'a self, mut state: Guard<'a>) -> Result<Guard<'a>, UpgradeError> {
        let tag = state.terms.tag;
        state.doubtful = false;
        let get = |broker: &mut Broker, _: &mut Inventory| fetch(broker, tag);
        let (mut state, (_, now)) = self.shared.ask(state, |machine| machine.is_alive(), get)?;
        if now != state.snapshot {
            state.machine.advance(Stage::Changed);
            self.shared.ring();
        }
        Ok(state)
    }

    /// Deposits and deletes what is due. If another process is taking over, waits until that has
    /// ended.
    fn bring_up_to_date<'a>(&'a self, mut state: Guard<'a>) -> Result<Guard<'a>, UpgradeError> {
        let tag = state.terms.tag;
        loop {
            state.machine.is_alive()?;
            if state.machine.is_fixed() {
                state = self.shared.wait_on_link(state)?;
                continue;
            }
            let bring = |broker: &mut Broker, inventory: &mut Inventory| match deposit_all(
                broker, tag, inventory,
            )? {
                Ok(()) => delete_all(broker, tag, inventory),
                refused => Ok(refused),
            };
            let (after, done) = self.shared.ask(state, |machine| machine.is_alive(), bring)?;
            state = after;
            match done {
                Ok(()) => return Ok(state),
                // The event is on its way.
                Err(NotDone { source: Error::Claimed { .. }, .. }) => {
                    state = self.shared.wait(state, Some(Instant::now() + SHORT));
                }
                Err(NotDone { name, source }) => {
                    state.heed(&source);
                    return Err(match refused(tag, source) {
                        UpgradeError::Broker(source) => UpgradeError::Deposit { name, source },
                        other => other,
                    });
                }
            }
        }
    }
}
