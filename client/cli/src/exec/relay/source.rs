//! Where sessions come from: a slot of the broker, and whose word counts for what is in it.

use fdbroker::tokio::Broker;
use fdbroker::{Connector, Error, Found, Slot};

use super::contents;
use super::no_session::NoSession;
use super::session::Session;

/// A slot, and how to ask for what is in it.
#[derive(Clone, Debug)]
pub(in super::super) struct Source {
    pub(in super::super) connector: Connector,
    pub(in super::super) slot: Slot,
    /// Whether a connection counts that a user has deposited. The payload is that user's then.
    pub(in super::super) takes_deposits: bool,
}

impl Source {
    /// Gets a session, over a connection of its own to the broker.
    pub(super) async fn get(&self) -> Result<Session, NoSession> {
        let broker = self.connector.clone().connect_async().await?;
        let deposit = broker.get(self.slot).await?;
        let is_resource = is_resource(&broker, self.slot).await?;
        let Some(connection) = deposit.connection() else {
            return Ok(Session::new(deposit, is_resource));
        };
        if !is_resource && !self.takes_deposits {
            return Err(NoSession::Deposit(self.slot));
        }
        match contents::fault(connection) {
            Some(fault) => Err(NoSession::Unfit { slot: self.slot, fault }),
            None => Ok(Session::new(deposit, is_resource)),
        }
    }
}

/// Whether the broker fills the slot itself. One that does not tell counts as one that does not.
async fn is_resource(broker: &Broker, slot: Slot) -> Result<bool, Error> {
    match broker.find(&slot.to_string()).await {
        Ok(found) => Ok(found == Found::Resource(slot)),
        Err(Error::Version1 { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
