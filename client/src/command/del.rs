//! `fdbroker del`: empties a slot.

use clap::Args;

use super::contact::Contact;
use super::{Failure, Session};

/// Delete what is in a slot
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  fdbroker del web/3")]
pub(crate) struct Del {
    /// The slot, such as 10/3 or web/3
    slot: String,
}

impl Del {
    /// Runs it.
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let mut contact = Contact::new(session);
        let slot = contact.slot(&self.slot)?;
        Ok(contact.broker()?.del(slot)?)
    }
}
