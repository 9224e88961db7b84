//! On whose account a descriptor is closed.

use crate::payer::Payer;

/// On whose account a descriptor is closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Depositor {
    User(Payer),
    /// A user, of what it brought and is no deposit: a refused descriptor, a connection that was left. Anyone
    /// can bring as much, without any right.
    Brought(Payer),
    /// A user, and what was opened for it: a deposit's close that sleeps does not delay it.
    Opened(Payer),
    /// Nobody knows whose it is, or it was opened for nobody in particular.
    Nobody,
    /// The broker's own, with nothing of a peer's in it.
    Broker,
    /// The broker's own, with what others sent and nobody has read: one of a few such accounts.
    Unread(u8),
}

impl Depositor {
    /// Whether the last threads may work for it.
    pub(super) fn is_of_the_system(self) -> bool {
        match self {
            Self::User(payer) | Self::Brought(payer) | Self::Opened(payer) => {
                payer.is_of_the_system()
            }
            Self::Nobody | Self::Broker => true,
            // Peers decide whether these can be closed.
            Self::Unread(_) => false,
        }
    }

    /// Whether only some of the threads work for it, with others of its kind.
    pub(super) fn is_without_right(self) -> bool {
        matches!(self, Self::Brought(_) | Self::Unread(_))
    }
}

impl From<Payer> for Depositor {
    fn from(payer: Payer) -> Self {
        Self::User(payer)
    }
}
