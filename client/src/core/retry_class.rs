//! What kept a request from being answered, and whether trying again may help.

use std::io;
use std::time::Duration;

use fdbroker_wire::{Errno, Reply};

use crate::unreceived::unreceived;
use crate::{Attempt, Error};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection ended before the first byte of an answer.
    Lost(io::Error),
    /// The connection failed in the middle of an answer, or in another way.
    Cut(io::Error),
    /// The answer took too long.
    Timeout(Duration),
    /// The answer makes no sense.
    Nonsense(&'static str),
    /// The answer's descriptor did not arrive in this process.
    NoRoom,
}

impl Failure {
    /// That of a request whose connection was lost by the failure of another one.
    pub(crate) fn along() -> Self {
        let reason = "the connection ended with an earlier request on it";
        Self::Lost(io::Error::new(io::ErrorKind::ConnectionAborted, reason))
    }

    /// Whether it is another than a loss, behind which a request may be repeated.
    pub(crate) fn lasts(&self) -> bool {
        !matches!(self, Self::Lost(_))
    }

    /// The same once more, for another request.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Lost(error) => Self::Lost(copied(error)),
            Self::Cut(error) => Self::Cut(copied(error)),
            Self::Timeout(after) => Self::Timeout(*after),
            Self::Nonsense(reason) => Self::Nonsense(reason),
            Self::NoRoom => Self::NoRoom,
        }
    }
}

/// What kept a request from being answered.
#[derive(Debug)]
pub(crate) enum RetryClass {
    /// The broker may be restarting. `sent`: the request may have been carried out.
    Transient { error: Error, sent: bool },
    /// Trying again would not help.
    Permanent(Error),
}

impl RetryClass {
    pub(crate) fn of_connecting(error: Error) -> Self {
        match &error {
            Error::Broken { source, .. } if absent(source) => {
                Self::Transient { error, sent: false }
            }
            _ => Self::Permanent(error),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Transient { error, .. } | Self::Permanent(error) => error,
        }
    }

    /// The same of a request that changes nothing.
    pub(crate) fn harmless(self) -> Self {
        match self {
            Self::Transient { error, .. } => Self::Transient { error, sent: false },
            permanent @ Self::Permanent(_) => permanent,
        }
    }

    pub(crate) fn of_exchange(attempt: Attempt, failure: Failure) -> Self {
        match failure {
            Failure::Lost(source) => {
                Self::Transient { error: Error::Broken { attempt, source }, sent: true }
            }
            Failure::Cut(source) => Self::Permanent(Error::Broken { attempt, source }),
            Failure::Timeout(after) => Self::Permanent(Error::Timeout { attempt, after }),
            Failure::Nonsense(reason) => Self::Permanent(Error::Protocol { attempt, reason }),
            Failure::NoRoom => Self::Permanent(unreceived(attempt)),
        }
    }
}

fn copied(error: &io::Error) -> io::Error {
    let copy = || io::Error::new(error.kind(), error.to_string());
    error.raw_os_error().map_or_else(copy, io::Error::from_raw_os_error)
}

/// Whether connecting failed as it does while a broker is being restarted.
fn absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotFound)
}

pub(crate) fn starting(reply: &Reply) -> bool {
    reply.error() == Some(Errno::AGAIN)
}
