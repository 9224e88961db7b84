//! Why a client gets no session.

use std::fmt;

use fdbroker::{Error, Slot};

use crate::failure::Failure;

/// Why there is none.
#[derive(Debug)]
pub(super) enum NoSession {
    /// The broker has none, or cannot be asked.
    Broker(Error),
    /// A user has deposited the connection, and nobody has said that the user is trusted.
    Deposit(Slot),
    /// What its payload says of it cannot be passed on.
    Unfit {
        /// Where it is from.
        slot: Slot,
        /// What is wrong.
        fault: String,
    },
}

impl From<Error> for NoSession {
    fn from(error: Error) -> Self {
        Self::Broker(error)
    }
}

impl From<NoSession> for Failure {
    fn from(none: NoSession) -> Self {
        match none {
            NoSession::Broker(error) => error.into(),
            other => Self::Local(format!("exec: {other}")),
        }
    }
}

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(error) => error.fmt(f),
            Self::Deposit(slot) => write!(
                f,
                "slot {slot} has a connection that a user deposited, not one that the broker makes: what the payload \
                 says could mislead the program; if you trust each user who may deposit there, use --trust-depositor"
            ),
            Self::Unfit { slot, fault } => {
                write!(f, "the payload of slot {slot} is not used: {fault}")
            }
        }
    }
}
