//! What a broker answered.

use std::os::fd::OwnedFd;

use fdbroker_wire::{Hello, Message};

/// An answer, or the end of the connection in its place.
#[derive(Debug)]
pub enum Answer {
    /// REP with 0.
    Done,
    /// REP with an error: its (positive) number and its text.
    Failed(i32, String),
    /// A deposit, or what a resource gave.
    Deposit {
        /// The number that the descriptor once had.
        ufd: i32,
        /// The payload.
        payload: Vec<u8>,
        /// The descriptor.
        descriptor: Option<OwnedFd>,
    },
    /// How much a tag holds.
    Info {
        /// The largest used index plus one.
        used: i32,
        /// The sum of the payload sizes.
        total: i32,
    },
    /// HEL.
    Hello(Hello),
    /// A message of version 2: its opcode and its body.
    Extended {
        /// The opcode.
        op: i16,
        /// What follows the head.
        body: Vec<u8>,
    },
    /// The broker ended the connection.
    Closed,
}

impl Answer {
    /// Reads an answer.
    pub fn from_message(message: Message<OwnedFd>) -> Self {
        match message {
            Message::Reply(reply) if reply.rc == 0 => Self::Done,
            Message::Reply(reply) => Self::Failed(-i32::from(reply.rc), reply.text),
            Message::Info(info) => Self::Info { used: info.used, total: info.total },
            Message::Add(add) => Self::Deposit {
                ufd: add.ufd,
                payload: add.payload.into_vec(),
                descriptor: add.descriptor,
            },
            Message::Hello(hello) => Self::Hello(hello),
            Message::Extended(message) => {
                Self::Extended { op: message.op, body: message.body.into_vec() }
            }
            other => panic!("the broker sent a message that is no answer: {other:?}"),
        }
    }

    /// The error number, 0 for success.
    #[track_caller]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Failed(errno, _) => *errno,
            Self::Closed => panic!("the broker ended the connection in place of an answer"),
            _ => 0,
        }
    }

    /// The request must have succeeded without anything to bring back.
    #[track_caller]
    pub fn done(self) {
        assert!(matches!(self, Self::Done), "expected success, got {self:?}");
    }

    /// The payload of the deposit that must have come.
    #[track_caller]
    pub fn payload(self) -> Vec<u8> {
        match self {
            Self::Deposit { payload, .. } => payload,
            other => panic!("expected a deposit, got {other:?}"),
        }
    }

    /// The descriptor that must have come.
    #[track_caller]
    pub fn descriptor(self) -> OwnedFd {
        match self {
            Self::Deposit { descriptor: Some(descriptor), .. } => descriptor,
            other => panic!("expected a descriptor, got {other:?}"),
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}
