//! The sockets of a group that the next process does not need.
//!
//! Sockets with SO_REUSEPORT at one address are a group, and the kernel spreads new connections over it. If a process
//! takes fewer of them than its predecessor had, the connections that wait in the others end with these, by a reset.
//! So a program can drain them first.

use std::sync::Arc;

use super::drain::Drain;
use super::group::Group;
use super::shared::Shared;
use super::state_machine::Stage;
use super::{UpgradeError, Upgrader};

/// Inherited TCP sockets of a SO_REUSEPORT group of which this process has taken others: see [`Upgrader::surplus`].
///
/// When it is dropped, the sockets are closed, and what waits in them is reset.
#[derive(Debug)]
#[must_use = "connections wait in these sockets: drain them when this process is ready"]
pub struct Surplus {
    groups: Vec<Group>,
    shared: Arc<Shared>,
}

impl Upgrader {
    /// Takes the inherited TCP sockets that nobody has asked for, and that are of one SO_REUSEPORT group with a socket that
    /// this process has asked for. To be called after the last [`Upgrader::listen`] and before [`Upgrader::ready`], which
    /// closes what is left.
    ///
    /// # Errors
    /// What ended the upgrader.
    pub fn surplus(&self) -> Result<Surplus, UpgradeError> {
        let mut state = self.shared.lock();
        state.machine.is_alive()?;
        Ok(Surplus { groups: state.inventory.take_surplus(), shared: self.shared.clone() })
    }
}

impl Surplus {
    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.surplus.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns the connections that wait in the sockets, one after the other, for about two seconds, and for 5.4 seconds if
    /// it has to try again. Then it shuts the sockets down, for other processes too. It ends at once if there is no
    /// socket, and after 30 seconds in any case: what waits then is reset. After an error it pauses for 0.1 seconds.
    ///
    /// From its call on, the kernel puts new connections into the sockets that this process has taken. The others do not
    /// block from then on. A BPF program that the group had is replaced.
    ///
    /// # Errors
    /// [`UpgradeError::NotReady`] before [`Upgrader::ready`]: the predecessor may have to go on with these sockets. What
    /// ended the upgrader before it was ready.
    pub fn drain(self) -> Result<Drain, UpgradeError> {
        let state = self.shared.lock();
        match state.machine.stage() {
            Stage::Serving | Stage::Completed => Ok(Drain::begin(self.groups)),
            Stage::Waiting | Stage::Granted | Stage::Owned => {
                Err(UpgradeError::NotReady { tag: state.terms.tag })
            }
            _ => state.machine.is_alive().map(|()| Drain::begin(self.groups)),
        }
    }
}
