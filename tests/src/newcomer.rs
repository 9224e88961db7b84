//! What claims to be a broker that takes over from another one (`--replace`), and does no more than a test wants.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fdbroker_wire::{Decoder, Handover, Limits, Message};

use crate::helper_process::Connection;
use crate::{HelperProcess, Peer};

/// One connection to a running broker, where it is asked to hand over.
#[derive(Debug)]
pub struct Newcomer {
    peer: Peer,
    decoder: Decoder<OwnedFd>,
    /// The broker that is asked.
    broker: u32,
    /// What that one has shown.
    shown: Option<i32>,
    _connection: Connection,
    helper: HelperProcess,
}

/// The listening socket of a broker that hands over, and what else decides who listens.
#[derive(Debug)]
pub struct Place {
    /// The socket.
    pub socket: OwnedFd,
    /// Device and inode of its file.
    pub file: (u64, u64),
    /// The locked file.
    pub lock: OwnedFd,
    /// Where the broker is asked.
    pub door: OwnedFd,
}

/// Where a broker is asked that listens on this socket.
pub fn door_of(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".replace");
    name.into()
}

/// Who holds the lock of a socket's place, as its file says.
pub fn locked_by(socket: &Path) -> u32 {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    std::fs::read_to_string(name).unwrap().trim().parse().unwrap()
}

impl Newcomer {
    /// Another process connects where the broker is asked that listens on this socket. This one speaks.
    #[track_caller]
    pub fn at(socket: &Path) -> Self {
        Self::of(HelperProcess::same(), socket)
    }

    /// The same of this process.
    #[track_caller]
    pub fn of(helper: HelperProcess, socket: &Path) -> Self {
        let connection = helper.open_connection(&door_of(socket)).expect("the broker can be asked");
        let peer = Peer::over(connection.share().unwrap());
        let (decoder, broker) = (Decoder::new(Limits::CONTROL), locked_by(socket));
        Self { peer, decoder, broker, shown: None, _connection: connection, helper }
    }

    /// The process that has connected.
    pub fn pid(&self) -> u32 {
        self.helper.pid()
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

    /// Asks, and may.
    #[track_caller]
    pub fn is_let_in(&mut self) {
        let answer = self.asks(Handover::<()>::VERSION);
        let Some(Handover::Welcome { shown, .. }) = answer else { panic!("{answer:?}") };
        self.shown = Some(shown);
    }

    /// Says that it is ready, with room for everything. Returns whether the broker still takes it.
    #[track_caller]
    pub fn is_ready(&mut self) -> bool {
        self.is_ready_with(u64::MAX)
    }

    /// The same with room for so many descriptors.
    #[track_caller]
    pub fn is_ready_with(&mut self, room: u64) -> bool {
        let shown = self.shown.expect("it was let in");
        let name = std::fs::read_link(format!("/proc/{}/fd/{shown}", self.broker));
        let name = name.map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default();
        self.says(Handover::Begin { room, name })
    }

    /// Reads what is shared first: who listens where.
    #[track_caller]
    pub fn hears_place(&mut self) -> Place {
        let state = self.hears();
        assert!(matches!(state, Some(Handover::State { .. })), "{state:?}");
        let Some(Handover::Listener { socket, device, inode }) = self.hears() else {
            panic!("no listening socket")
        };
        let Some(Handover::Lock(lock)) = self.hears() else { panic!("no lock") };
        let Some(Handover::Door(door)) = self.hears() else { panic!("no door") };
        Place { socket, file: (device, inode), lock, door }
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
        loop {
            match self.hears() {
                Some(Handover::Complete { .. }) => return,
                Some(Handover::Refused(why)) => panic!("{why}"),
                Some(_) => {}
                None => panic!("the broker goes on"),
            }
        }
    }
}
