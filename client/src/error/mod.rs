//! What can go wrong, told apart by what the caller can do about it.
//!
//! Every message is one sentence: what was tried, on which slot, at which socket, what was
//! answered, what to do. Text that came from a broker is quoted and escaped, so that it can be
//! shown on a terminal.

mod message;
mod operation;

use std::io;
use std::time::Duration;

use fdbroker_wire::Errno;
#[cfg(doc)]
use fdbroker_wire::MAX_PAYLOAD;

pub use operation::{Attempt, Feature, Operation};

/// Why a request failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The broker's policy does not allow it (EACCES). Whether the slot holds anything is not told.
    Refused {
        /// What was tried.
        attempt: Attempt,
        /// The broker's sentence.
        text: String,
    },
    /// There is nothing in the slot (ENOENT).
    Absent {
        /// What was tried.
        attempt: Attempt,
        /// The broker's sentence.
        text: String,
    },
    /// A quota of this user is used up (EDQUOT), or the broker's descriptor table is full (EMFILE).
    Quota {
        /// What was tried.
        attempt: Attempt,
        /// Which of the two.
        errno: Errno,
        /// The broker's sentence.
        text: String,
    },
    /// The broker answered with another error, such as EINVAL, ENODEV or EIO.
    Failed {
        /// What was tried.
        attempt: Attempt,
        /// Which error.
        errno: Errno,
        /// The broker's sentence.
        text: String,
    },
    /// The broker was asked to operate, did not do it, and says why at length.
    Reported {
        /// What was tried.
        attempt: Attempt,
        /// Which error.
        errno: Errno,
        /// Its report, of any number of lines; not escaped.
        text: String,
    },
    /// The broker speaks version 1 of the protocol only, which has no such request.
    Version1 {
        /// What was tried.
        attempt: Attempt,
    },
    /// The broker speaks version 2 of the protocol without this part of it.
    Unserved {
        /// What was tried.
        attempt: Attempt,
        /// What it does not serve.
        feature: Feature,
    },
    /// The tag is being taken over, and this session is one of the two sides: nothing changes
    /// there until that has ended (EBUSY).
    Claimed {
        /// What was tried.
        attempt: Attempt,
        /// The broker's sentence.
        text: String,
    },
    /// Another process has taken the tag over, or owns it (ESTALE).
    TakenOver {
        /// What was tried.
        attempt: Attempt,
        /// The broker's sentence.
        text: String,
    },
    /// The answer makes no sense: the program at the other end is no broker, or of another kind.
    Protocol {
        /// What was tried.
        attempt: Attempt,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// A descriptor came that found no room in this process's own table; it was closed.
    NoRoom {
        /// What was tried.
        attempt: Attempt,
    },
    /// A descriptor came that the kernel kept from this process, which has room for it: its security module refused
    /// it.
    Withheld {
        /// What was tried.
        attempt: Attempt,
        /// The security module.
        module: &'static str,
    },
    /// The payload is larger than [`MAX_PAYLOAD`]; nothing was sent.
    TooLarge {
        /// What was tried.
        attempt: Attempt,
        /// The size of the payload, in bytes.
        size: usize,
    },
    /// The name is empty, has a NUL in it, or more than 255 bytes; nothing was sent.
    BadName {
        /// What was tried.
        attempt: Attempt,
    },
    /// No answer came within the time set by [`crate::Connector::timeout`]. The request may
    /// have been carried out, or may yet be.
    Timeout {
        /// What was tried.
        attempt: Attempt,
        /// How long the answer was waited for.
        after: Duration,
    },
    /// The broker cannot be reached, or the connection was lost and did not come back in time.
    /// A request that was under way may have been carried out.
    Broken {
        /// What was tried.
        attempt: Attempt,
        /// What the system said.
        source: io::Error,
    },
    /// The broker runs as somebody who is not trusted; nothing was sent to it.
    Untrusted {
        /// What was tried.
        attempt: Attempt,
        /// The user id that the broker's socket listens as.
        uid: u32,
    },
    /// The broker runs as a user that has no number in this process's user namespace, so that it could be anybody;
    /// nothing was sent to it.
    Unidentified {
        /// What was tried.
        attempt: Attempt,
        /// The user id that all users without a number show as.
        uid: u32,
    },
}

impl Error {
    /// What was tried, and where.
    pub fn attempt(&self) -> &Attempt {
        match self {
            Self::Refused { attempt, .. }
            | Self::Absent { attempt, .. }
            | Self::Quota { attempt, .. }
            | Self::Failed { attempt, .. }
            | Self::Reported { attempt, .. }
            | Self::Version1 { attempt }
            | Self::Unserved { attempt, .. }
            | Self::Claimed { attempt, .. }
            | Self::TakenOver { attempt, .. }
            | Self::Protocol { attempt, .. }
            | Self::NoRoom { attempt }
            | Self::Withheld { attempt, .. }
            | Self::TooLarge { attempt, .. }
            | Self::BadName { attempt }
            | Self::Timeout { attempt, .. }
            | Self::Broken { attempt, .. }
            | Self::Untrusted { attempt, .. }
            | Self::Unidentified { attempt, .. } => attempt,
        }
    }

    /// The error number that the broker answered with, see errno(3); `None` if the error is
    /// not an answer.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { .. } => Some(Errno::ACCES),
            Self::Absent { .. } => Some(Errno::NOENT),
            Self::Quota { errno, .. }
            | Self::Failed { errno, .. }
            | Self::Reported { errno, .. } => Some(*errno),
            Self::Version1 { .. } => Some(Errno::PROTO),
            Self::Claimed { .. } => Some(Errno::BUSY),
            Self::TakenOver { .. } => Some(Errno::STALE),
            _ => None,
        }
    }

    /// Whether there is no connection any more, so that what was claimed on it is claimed no
    /// more. The next request connects again.
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Broken { .. }
                | Self::Timeout { .. }
                | Self::Protocol { .. }
                | Self::Untrusted { .. }
                | Self::Unidentified { .. }
        )
    }

    /// The kind that [`io::Error`] has for it.
    pub(crate) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Broken { source, .. } => source.kind(),
            Self::Timeout { .. } => io::ErrorKind::TimedOut,
            Self::Protocol { .. } => io::ErrorKind::InvalidData,
            Self::Version1 { .. } | Self::Unserved { .. } => io::ErrorKind::Unsupported,
            Self::TooLarge { .. } | Self::BadName { .. } => io::ErrorKind::InvalidInput,
            Self::Withheld { .. } | Self::Untrusted { .. } | Self::Unidentified { .. } => {
                io::ErrorKind::PermissionDenied
            }
            _ => self.errno().map_or(io::ErrorKind::Other, |errno| {
                io::Error::from_raw_os_error(errno.get().into()).kind()
            }),
        }
    }

    /// The error that an answer of this error number means.
    pub(crate) fn answered(attempt: Attempt, errno: Errno, text: String) -> Self {
        match errno {
            Errno::ACCES => Self::Refused { attempt, text },
            Errno::NOENT => Self::Absent { attempt, text },
            Errno::DQUOT | Errno::MFILE => Self::Quota { attempt, errno, text },
            Errno::BUSY if attempt.operation.changes() => Self::Claimed { attempt, text },
            Errno::STALE => Self::TakenOver { attempt, text },
            _ => Self::Failed { attempt, errno, text },
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}
