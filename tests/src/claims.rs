//! What peers say and are told when they take tags over.

use std::time::Duration;

use fdbroker_wire::claim::{Claimed, Event, State, What};
use fdbroker_wire::{Extended, Tag};

use crate::{Answer, Daemon, HelperProcess, Peer, request};

/// CLAIM: the owner serves on until its claimant is ready.
pub const LIVE: i16 = 0;
/// CLAIM: the owner stops first, and releases.
pub const QUIESCED: i16 = 1;
/// CLAIM: only what is one's own.
pub const AGAIN: i16 = 2;
/// CLAIM, beside one of these: once it is the owner, nobody's turn comes until it has said READY.
pub const SETTLE: i16 = 0x100;

/// For claims whose time is never up in a test, in milliseconds.
pub const LONG: i32 = 3_600_000;

/// Anyone may do anything to the slots of these two tags.
pub const POLICY: &str = r#"
[tags.web]
id = 10

[tags.serial]
id = 11
serial = true

[[rules]]
id = "everyone"
allow = ["*"]
slots = ["*"]
anyone = true
"#;

/// A tag of [`POLICY`] that is not serial.
pub const WEB: i16 = 10;
/// One that is.
pub const SERIAL: i16 = 11;
/// Both.
pub const BOTH: [i16; 2] = [WEB, SERIAL];

impl Daemon {
    /// A daemon with [`POLICY`].
    pub fn of_claims() -> Self {
        Self::with_policy(POLICY).start()
    }

    /// A connection of this process that has said HEL.
    #[track_caller]
    pub fn greeted(&self) -> Peer {
        self.connect().greeted()
    }

    /// The same, that owns a tag by claim.
    #[track_caller]
    pub fn owner(&self, tag: i16) -> Peer {
        let mut owner = self.greeted();
        assert_eq!(owner.claim(tag, LIVE), State::Owned);
        owner
    }
}

impl HelperProcess {
    /// Has it connect to a daemon and say HEL.
    #[track_caller]
    pub fn greeted(&self, daemon: &Daemon) -> Peer {
        self.connect(daemon).greeted()
    }
}

impl Peer {
    /// Says HEL.
    #[track_caller]
    pub fn greeted(mut self) -> Self {
        assert!(matches!(self.ask(&request::hello(), &[]), Answer::Hello(_)));
        self
    }

    /// CLAIM, which must not fail; returns the claim's state.
    #[track_caller]
    pub fn claim(&mut self, tag: i16, mode: i16) -> State {
        self.claim_for(tag, mode, LONG).state
    }

    /// The same, with its time in milliseconds; returns the whole answer.
    #[track_caller]
    pub fn claim_for(&mut self, tag: i16, mode: i16, time: i32) -> Claimed {
        self.try_claim(tag, mode, time).claimed()
    }

    /// CLAIM.
    #[track_caller]
    pub fn try_claim(&mut self, tag: i16, mode: i16, time: i32) -> Answer {
        self.ask(&request::claim(tag, mode, time), &[])
    }

    /// RELEASE.
    #[track_caller]
    pub fn release(&mut self, tag: i16) -> Answer {
        self.ask(&request::release(tag), &[])
    }

    /// READY.
    #[track_caller]
    pub fn ready(&mut self, tag: i16) -> Answer {
        self.ask(&request::ready(tag), &[])
    }

    /// WITHDRAW.
    #[track_caller]
    pub fn withdraw(&mut self, tag: i16) -> Answer {
        self.ask(&request::withdraw(tag), &[])
    }

    /// The next event must say this of this tag; returns the whole event.
    #[track_caller]
    pub fn is_told(&mut self, tag: i16, what: What) -> Event {
        let event = self.event();
        assert_eq!((event.tag.get(), event.what), (tag, what));
        event
    }

    /// Reads events until one says this of this tag: those before it may have been old by then.
    #[track_caller]
    pub fn is_told_at_last(&mut self, tag: i16, what: What) -> Event {
        loop {
            let event = self.event();
            if (event.tag, event.what) == (Tag::new(tag).expect("a tag"), what) {
                return event;
            }
        }
    }

    /// No event comes for a while.
    #[track_caller]
    pub fn is_told_nothing(&mut self, meanwhile: Duration) {
        let event = self.event_within(meanwhile);
        assert!(event.is_none(), "{event:?}");
    }
}

impl Answer {
    /// The CLAIMED that must have come.
    #[track_caller]
    pub fn claimed(self) -> Claimed {
        match self {
            Self::Extended { op, body } => {
                let message =
                    Extended::<()> { op, flags: 0, body: body.into(), descriptors: Vec::new() };
                Claimed::from_extended(message).expect("it is CLAIMED")
            }
            other => panic!("expected CLAIMED, got {other:?}"),
        }
    }
}
