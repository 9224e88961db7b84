//! What kept a request from being answered, and whether trying again may help.

use std::io;

use fdbroker_wire::{Errno, Reply};

use crate::connection::Failure;
use crate::{Attempt, Error};

/// What kept a request from being answered.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The broker may be restarting. `sent`: the request may have been carried out.
    Passing { error: Error, sent: bool },
    /// Trying again would not help.
    Lasting(Error),
}

impl Trouble {
    pub(crate) fn of_connecting(error: Error) -> Self {
        match &error {
            Error::Broken { source, .. } if absent(source) => Self::Passing { error, sent: false },
            _ => Self::Lasting(error),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Passing { error, .. } | Self::Lasting(error) => error,
        }
    }

    /// The same of a request that changes nothing.
    pub(crate) fn harmless(self) -> Self {
        match self {
            Self::Passing { error, .. } => Self::Passing { error, sent: false },
            lasting @ Self::Lasting(_) => lasting,
        }
    }

    pub(crate) fn of_exchange(attempt: Attempt, failure: Failure) -> Self {
        match failure {
            Failure::Lost(source) => {
                Self::Passing { error: Error::Broken { attempt, source }, sent: true }
            }
            Failure::Cut(source) => Self::Lasting(Error::Broken { attempt, source }),
            Failure::Timeout(after) => Self::Lasting(Error::Timeout { attempt, after }),
            Failure::Nonsense(reason) => Self::Lasting(Error::Protocol { attempt, reason }),
            Failure::NoRoom => Self::Lasting(Error::NoRoom { attempt }),
        }
    }
}

/// Whether connecting failed as it does while a broker is being restarted.
fn absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotFound)
}

pub(crate) fn starting(reply: &Reply) -> bool {
    reply.error() == Some(Errno::AGAIN)
}
