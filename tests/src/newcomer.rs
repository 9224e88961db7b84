//! What claims to be a broker that takes over from another one (`--replace`), and does no more than a test wants.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fdbroker_wire::{Decoder, Handover, Limits, Message};

use crate::Peer;

/// One connection to a running broker, where it is asked to hand over.
#[derive(Debug)]
pub struct Newcomer {
    peer: Peer,
    decoder: Decoder<OwnedFd>,
}

/// Where a broker is asked that listens on this socket.
pub fn door_of(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".replace");
    name.into()
}

impl Newcomer {
    /// Over this connection.
    pub fn over(peer: Peer) -> Self {
        Self { peer, decoder: Decoder::new(Limits::CONTROL) }
    }

    /// Connects where the broker is asked that listens on this socket.
    #[track_caller]
    pub fn at(socket: &Path) -> Self {
        Self::over(Peer::connect(&door_of(socket)).expect("the broker can be asked"))
    }

    /// Says something. Returns whether the broker still takes it.
    pub fn says(&mut self, message: Handover<OwnedFd>) -> bool {
        let message = message.into_extended();
        self.peer.try_send(&[&message.head()[..], &message.body[..]].concat(), &[]).is_ok()
    }

    /// Asks to take over; returns the broker's answer.
    #[track_caller]
    pub fn asks(&mut self, version: u32) -> Option<Handover<OwnedFd>> {
        self.says(Handover::Ask { version });
        self.hears()
    }

    /// Asks, and is given the three descriptors that a broker shares beforehand.
    #[track_caller]
    pub fn is_let_in(&mut self) {
        assert!(matches!(self.asks(Handover::<()>::VERSION), Some(Handover::Listener(_))));
        assert!(matches!(self.hears(), Some(Handover::Lock(_))));
        assert!(matches!(self.hears(), Some(Handover::Door(_))));
    }

    /// The broker's next message of this kind, whatever comes before it; `None` if there is no further one.
    pub fn hears(&mut self) -> Option<Handover<OwnedFd>> {
        loop {
            match self.decoder.message() {
                Some(Ok(Message::Extended(message))) if Handover::is(&message) => {
                    return Handover::from_extended(message).ok();
                }
                Some(_) => continue,
                None => {}
            }
            let received = self.peer.receive().ok().filter(|it| !it.bytes.is_empty())?;
            self.decoder.feed(&received.bytes, received.descriptors, received.truncated);
        }
    }

    /// Reads everything that the broker has to hand over.
    #[track_caller]
    pub fn hears_everything(&mut self) {
        while !matches!(self.hears(), Some(Handover::Complete { .. })) {}
    }
}
