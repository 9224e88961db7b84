//! `fdbroker del`: empties a slot.

use clap::Args;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;

/// Delete the deposit of a slot
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  fdbroker del web/3")]
pub(crate) struct Del {
    /// The slot, such as 10/3 or web/3
    slot: String,
}

impl Del {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let mut lazy = LazyBroker::new(args);
        let slot = lazy.slot(&self.slot)?;
        Ok(lazy.broker()?.del(slot)?)
    }
}
