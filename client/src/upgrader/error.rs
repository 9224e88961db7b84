//! Why an upgrade, or what is to be handed on in it, did not work.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fdbroker_types::quoted;
use fdbroker_wire::{MAX_PAYLOAD, Tag};

use super::payload::MAX_NAME;
use super::{Address, Role, SocketKind};
use crate::Error;

/// Why an upgrader did not do what it was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Another process is taking over: until it is ready or has given up, nothing changes.
    InProgress {
        /// The tag.
        tag: Tag,
    },
    /// Another process has taken over: this one has only to finish what it has begun.
    Completed {
        /// The tag.
        tag: Tag,
    },
    /// [`super::Upgrader::stop`] was called.
    Stopped {
        /// The tag.
        tag: Tag,
    },
    /// The turn did not come within the builder's `patience`, or this process was not ready within
    /// its `timeout`; its predecessor, if there is one, serves on.
    TimedOut {
        /// The tag.
        tag: Tag,
        /// Which of the two, in words.
        what: &'static str,
        /// How long it was.
        after: Duration,
    },
    /// Nobody has claimed the tag, or not any more: there is nothing to release it for.
    Unclaimed {
        /// The tag.
        tag: Tag,
    },
    /// This process has not said [`super::Upgrader::ready`] yet: its predecessor may have to go on with these sockets.
    NotReady {
        /// The tag.
        tag: Tag,
    },
    /// While the broker was being restarted, somebody changed what this process had already
    /// inherited: it has to start again.
    Changed {
        /// The tag.
        tag: Tag,
    },
    /// Another program has deposited what is in the tag: see [`super::Builder::program`]. Nothing was taken.
    OtherProgram {
        /// The tag.
        tag: Tag,
        /// The name of something that it has deposited.
        name: String,
        /// The program that has deposited it.
        program: String,
        /// This program.
        this: String,
    },
    /// A name has 1 to 255 bytes and no NUL.
    BadName {
        /// The name.
        name: String,
    },
    /// In the broker's policy, this is the name of one slot, and of no tag.
    NoTag {
        /// The name.
        name: String,
    },
    /// The name is in use in another role.
    Role {
        /// The name.
        name: String,
        /// What was asked for.
        asked: Role,
        /// What it is.
        found: Role,
    },
    /// The inherited descriptor of this name is no socket of the type that was asked for.
    SocketKind {
        /// The name.
        name: String,
        /// What was asked for.
        asked: SocketKind,
        /// What it is, in words.
        found: &'static str,
    },
    /// The program made a descriptor for this name that is no socket of the type that it asked for.
    /// It was not kept.
    Made {
        /// The name.
        name: String,
        /// What was asked for.
        asked: SocketKind,
        /// What it is, in words.
        found: &'static str,
    },
    /// The socket under this name is bound at another address than was asked for: see
    /// [`super::Builder::any_address`].
    Address {
        /// The name.
        name: String,
        /// What was asked for, resolved; one of them would do.
        asked: Vec<Address>,
        /// Where it is bound.
        found: Address,
    },
    /// Nobody can reach the inherited listening socket of this name any more. It was shut down, or its path has gone or
    /// is another file by now.
    Dead {
        /// The name.
        name: String,
        /// Why, in words.
        why: &'static str,
    },
    /// A later version of this library left the deposit of this name, or it is damaged.
    Unreadable {
        /// The name.
        name: String,
    },
    /// The name and what is to be handed on with it do not fit into one payload.
    TooLarge {
        /// The name.
        name: String,
        /// The size of the payload, in bytes.
        size: usize,
    },
    /// A socket, connection or file could not be made or used.
    Io {
        /// The name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The broker did not keep, give or delete what has this name.
    Deposit {
        /// The name.
        name: String,
        /// What the broker said.
        source: Error,
    },
    /// The tag could not be claimed again after the connection to the broker was lost, and not
    /// because another process has it.
    Lost {
        /// The tag.
        tag: Tag,
        /// What the broker said.
        source: Arc<Error>,
    },
    /// A request failed.
    Broker(Error),
    /// The operating system has no descriptor or thread for this, or the runtime is ending.
    System(io::Error),
}

impl UpgradeError {
    /// Whether the process that asked is no longer, or not yet, the one whose changes count:
    /// [`Self::InProgress`], [`Self::Completed`] or [`Self::Stopped`].
    pub fn is_about_the_upgrade(&self) -> bool {
        matches!(self, Self::InProgress { .. } | Self::Completed { .. } | Self::Stopped { .. })
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InProgress { tag } => write!(
                f,
                "tag {tag} is being taken over by another process, and cannot be changed; wait \
                 until that is over"
            ),
            Self::Completed { tag } => write!(
                f,
                "tag {tag} was taken over by another process: this one finishes what it has begun, and ends"
            ),
            Self::Stopped { tag } => {
                write!(f, "tag {tag} was given up by this process; start another upgrader")
            }
            Self::TimedOut { tag, what, after } => {
                write!(f, "tag {tag}: {what} within {after:?}; its owner serves on, try again")
            }
            Self::Unclaimed { tag } => {
                write!(f, "tag {tag} is claimed by nobody: there is nothing to release it for")
            }
            Self::NotReady { tag } => write!(
                f,
                "tag {tag} is not this process's yet: drain its sockets after ready has succeeded"
            ),
            Self::Changed { tag } => write!(
                f,
                "tag {tag} changed while the broker was restarted: start again, to inherit what is there now"
            ),
            Self::OtherProgram { tag, name, program, this } => write!(
                f,
                "tag {tag} belongs to the program {program}, which has deposited {name} there, and this program is \
                 {this}: use a tag of its own for each; if it is the same program under another name, say \
                 Builder::program({program}), or delete what is there with fdbroker del",
                program = quoted(program),
                name = quoted(name),
                this = quoted(this)
            ),
            Self::BadName { name } => {
                write!(
                    f,
                    "{name} is not a valid name: a name has 1 to {MAX_NAME} bytes, and no \
                          NUL",
                    name = quoted(name)
                )
            }
            Self::NoTag { name } => {
                write!(
                    f,
                    "{name} is the name of one slot: name a tag of the policy",
                    name = quoted(name)
                )
            }
            Self::Role { name, asked, found } => {
                write!(
                    f,
                    "{name} is {found}, and not {asked}: use another name",
                    name = quoted(name)
                )
            }
            Self::SocketKind { name, asked, found } => {
                write!(
                    f,
                    "{name} is {found}, and not {asked}: remove it, or use another name",
                    name = quoted(name)
                )
            }
            Self::Made { name, asked, found } => write!(
                f,
                "{name}: what was made is {found}, and not {asked}; it was not kept: make another",
                name = quoted(name)
            ),
            Self::Address { name, asked, found } => write!(
                f,
                "{name} is bound at {found}, and not at {}: remove the name first to bind it there, or take it wherever it is, with any_address",
                Listed(asked),
                name = quoted(name)
            ),
            Self::Dead { name, why } => write!(
                f,
                "{name}: nobody can reach the inherited socket any more: {why}; make it again with listen or \
                 listen_with, where its address is free, or remove the name",
                name = quoted(name)
            ),
            Self::Unreadable { name } => write!(
                f,
                "{name} was left by a later version of this library, or is damaged: remove it, or use that version",
                name = quoted(name)
            ),
            Self::TooLarge { name, size } => write!(
                f,
                "{name} takes a payload of {size} bytes, and the limit is {MAX_PAYLOAD}: store \
                 less with it",
                name = quoted(name)
            ),
            Self::Io { name, source } => write!(f, "{name}: {source}", name = quoted(name)),
            Self::Deposit { name, source } => write!(f, "{name}: {source}", name = quoted(name)),
            Self::Lost { tag, source } => {
                write!(f, "tag {tag} could not be claimed again: {source}")
            }
            Self::Broker(source) => source.fmt(f),
            Self::System(source) => {
                write!(f, "system error: {source}; check the limits of open files and threads")
            }
        }
    }
}

impl std::error::Error for UpgradeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::System(source) => Some(source),
            Self::Deposit { source, .. } | Self::Broker(source) => Some(source),
            Self::Lost { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<UpgradeError> for io::Error {
    fn from(error: UpgradeError) -> Self {
        let kind = match &error {
            UpgradeError::InProgress { .. } => io::ErrorKind::ResourceBusy,
            UpgradeError::Completed { .. } => io::ErrorKind::StaleNetworkFileHandle,
            UpgradeError::TimedOut { .. } => io::ErrorKind::TimedOut,
            UpgradeError::Io { source, .. } | UpgradeError::System(source) => source.kind(),
            UpgradeError::Deposit { source, .. } | UpgradeError::Broker(source) => source.kind(),
            UpgradeError::Lost { source, .. } => source.kind(),
            UpgradeError::BadName { .. }
            | UpgradeError::NoTag { .. }
            | UpgradeError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Addresses in a sentence.
struct Listed<'a>(&'a [Address]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, address) in self.0.iter().enumerate() {
            let before = if number == 0 { "" } else { " or " };
            write!(f, "{before}{address}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listener => "a listening socket",
            Self::Connection => "a connection",
            Self::File => "a file",
            Self::Stored => "something stored",
        })
    }
}
