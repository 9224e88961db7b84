//! What a driver and its clients look at both: the claims, and the events that wait for somebody.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tokio::sync::Notify;
use fdbroker_wire::claim::Event;

use crate::core::Events;
use crate::core::claims::{Claims, Unclaimed};

/// Of one session.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something happened that who waits for an event should look at.
    stirred: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) claims: Claims,
    events: Events,
}

impl Shared {
    /// Nothing waits while it is held.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event has come.
    pub(super) fn put(&self, event: Event) {
        self.state().events.put(event);
        self.stirred.notify_waiters();
    }

    /// The connection has ended.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.claims.end();
        state.events = Events::default();
        drop(state);
        self.stirred.notify_waiters();
    }

    /// The next event, if there is one.
    pub(super) fn take(&self) -> Result<Option<Event>, Unclaimed> {
        let mut state = self.state();
        state.claims.check_any()?;
        Ok(state.events.take())
    }

    /// The next event, as long as it takes.
    pub(super) async fn wait(&self) -> Result<Event, Unclaimed> {
        loop {
            let mut stirred = std::pin::pin!(self.stirred.notified());
            // What comes between the look and the wait counts.
            stirred.as_mut().enable();
            if let Some(event) = self.take()? {
                return Ok(event);
            }
            stirred.await;
        }
    }
}
