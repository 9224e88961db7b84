//! What one broker reads of what another one sends.

use fdbroker_wire::{Add, Control, Handover, Message};

use crate::fd::PeerFd;

/// A message of another broker's.
pub(crate) enum Said {
    Deposit(Add<PeerFd>),
    /// An owner or a taker.
    Control(Control<PeerFd>),
    Handover(Handover<PeerFd>),
}

/// Reads one.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(message: Message<PeerFd>) -> Result<Said, String> {
    match message {
        Message::Add(add) => Ok(Said::Deposit(add)),
        Message::Extended(message) if Handover::is(&message) => {
            Handover::from_extended(message).map(Said::Handover).map_err(|error| error.to_string())
        }
        Message::Extended(message) => {
            Control::from_extended(message).map(Said::Control).map_err(|error| error.to_string())
        }
        _ => Err(NO_BROKER.to_owned()),
    }
}

const NO_BROKER: &str = "it sent a message that no broker sends to another one";
