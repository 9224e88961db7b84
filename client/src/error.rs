//! What can go wrong, told apart by what the caller can do about it.
//!
//! Every message is one sentence: what was tried, on which slot, at which socket, what was
//! answered, what to do. Text that came from a broker is quoted and escaped, so that it can be
//! shown on a terminal.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fdbroker_wire::version2::{Features, MAX_NAME};
use fdbroker_wire::{Errno, MAX_PAYLOAD, Slot, Tag};

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

/// What was tried, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// What.
    pub operation: Operation,
    /// The broker's socket.
    pub socket: Arc<Path>,
}

/// What a client asks of a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Connecting.
    Connect,
    /// Depositing into a slot.
    Add(Slot),
    /// Getting what is in a slot.
    Get(Slot),
    /// Deleting what is in a slot.
    Del(Slot),
    /// Asking how much a tag holds.
    Tag(Tag),
    /// Asking what a name means.
    Find(Arc<str>),
    /// Asking which slots there are, of a tag or of all.
    List(Option<Tag>),
    /// Having the policy read again.
    Reload,
    /// Deleting a deposit that no rule reaches, or all of those.
    Purge(Option<Slot>),
    /// Asking how the broker is doing.
    Status,
    /// Asking for the broker's instance number.
    Instance,
    /// Getting or taking what is in many slots of a tag.
    GetMany(Tag),
    /// Depositing into many slots of a tag.
    AddMany(Tag),
    /// Deleting what is in many slots of a tag.
    DelMany(Tag),
    /// Getting and deleting what is in a slot.
    Take(Slot),
    /// Getting and deleting what is in many slots of a tag.
    TakeMany(Tag),
    /// Claiming a tag.
    Claim(Tag),
    /// Releasing a tag to its claimant.
    Release(Tag),
    /// Being ready to own a tag.
    Ready(Tag),
    /// Giving up a claim, or a tag.
    Withdraw(Tag),
    /// Waiting for an event.
    Event,
    /// Sending and receiving, whatever it was.
    Process,
}

/// A part of version 2 of the protocol, which a broker serves or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Feature {
    /// Names and listings.
    Listing,
    /// Operating the broker.
    Operate,
    /// Many slots in one message.
    Many,
    /// Claims of tags, and their events.
    Claim,
}

impl Feature {
    /// As HEL has it.
    pub(crate) const fn flag(self) -> Features {
        match self {
            Self::Listing => Features::LISTING,
            Self::Operate => Features::OPERATE,
            Self::Many => Features::MANY,
            Self::Claim => Features::CLAIM,
        }
    }
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

    /// The error number that the broker answered with, see errno(3); none when the error is
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
    /// more. The next request connects anew.
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.attempt();
        match self {
            Self::Refused { text, .. } => {
                write!(f, "{what} refused it: {text:?}; {}", plea(&what.operation))
            }
            Self::Absent { text, .. } => {
                write!(f, "{what} found nothing there: {text:?}; {}", absent(&what.operation))
            }
            Self::Quota { errno, text, .. } => {
                write!(f, "{what} has no more room ({errno}): {text:?}; {}", room(*errno, text))
            }
            Self::Failed { errno, text, .. } => {
                write!(f, "{what} answered {errno}: {text:?}; {}", cure(*errno))
            }
            Self::Reported { errno, text, .. } => {
                write!(f, "{what} did not do it ({errno}), and reports: {text:?}")
            }
            Self::Version1 { .. } => write!(
                f,
                "{what} speaks version 1 of the protocol only, which has no such request; it has to be a newer broker"
            ),
            Self::Unserved { feature, .. } => {
                write!(f, "{what} does not serve {feature}; it has to be a newer broker")
            }
            Self::Claimed { text, .. } => write!(
                f,
                "{what} changes nothing now: {text:?}; the tag is being taken over: try again when that has ended"
            ),
            Self::TakenOver { text, .. } => write!(
                f,
                "{what} belongs to another process: {text:?}; the tag has been taken over: claim it to have it back"
            ),
            Self::Protocol { reason, .. } => {
                write!(f, "{what} answered nonsense: {reason}; check that it is a broker's socket")
            }
            Self::NoRoom { .. } => write!(
                f,
                "{what} sent a descriptor that this process has no room for; close some, or raise its limit of open files"
            ),
            Self::Withheld { module, .. } => write!(
                f,
                "{what} sent a descriptor, and {module} did not let this process receive it; look for file_receive, or for \"use\" of fd, in the kernel's audit log, and allow it there"
            ),
            Self::TooLarge { size, .. } => write!(
                f,
                "{what} was not asked: a payload of {size} bytes is too large; the most is {MAX_PAYLOAD}"
            ),
            Self::BadName { .. } => {
                write!(f, "{what} was not asked: a name has 1 to {MAX_NAME} bytes, and no NUL")
            }
            Self::Timeout { after, .. } => {
                write!(f, "{what} did not answer within {after:?}; {}", silence(&what.operation))
            }
            Self::Broken { source, .. } => {
                write!(f, "{what} cannot be reached: {source}; {}", reach(&what.socket, source))
            }
            Self::Untrusted { uid, .. } => write!(
                f,
                "{what} runs as user id {uid}, which is neither root nor this process's own, and is not trusted; trust that user id explicitly if it is right"
            ),
            Self::Unidentified { uid, .. } => write!(
                f,
                "{what} runs as a user that has no number in this user namespace: user id {uid} stands for any such user, and is not trusted; run this program outside of the user namespace, or map the broker's user into it"
            ),
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

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the broker at {:?}", self.operation, self.socket)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Add(slot) => write!(f, "add {slot}"),
            Self::Get(slot) => write!(f, "get {slot}"),
            Self::Del(slot) => write!(f, "del {slot}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Find(name) => write!(f, "find {name:?}"),
            Self::List(Some(tag)) => write!(f, "list {tag}"),
            Self::List(None) => f.write_str("list"),
            Self::Reload => f.write_str("reload"),
            Self::Purge(Some(slot)) => write!(f, "purge {slot}"),
            Self::Purge(None) => f.write_str("purge of what no rule reaches"),
            Self::Status => f.write_str("status"),
            Self::Instance => f.write_str("instance"),
            Self::GetMany(tag) => write!(f, "get {tag}/*"),
            Self::AddMany(tag) => write!(f, "add {tag}/*"),
            Self::DelMany(tag) => write!(f, "del {tag}/*"),
            Self::Take(slot) => write!(f, "take {slot}"),
            Self::TakeMany(tag) => write!(f, "take {tag}/*"),
            Self::Claim(tag) => write!(f, "claim {tag}"),
            Self::Release(tag) => write!(f, "release {tag}"),
            Self::Ready(tag) => write!(f, "ready {tag}"),
            Self::Withdraw(tag) => write!(f, "withdraw {tag}"),
            Self::Event => f.write_str("event"),
            Self::Process => f.write_str("process"),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listing => "names and listings (LISTING)",
            Self::Operate => "operators (OPERATE)",
            Self::Many => "many slots in one message (MANY)",
            Self::Claim => "claims (CLAIM)",
        })
    }
}

impl Operation {
    /// Whether it can have to wait for a session that holds the tag.
    fn waits_for_a_tag(&self) -> bool {
        matches!(self, Self::Get(_) | Self::GetMany(_) | Self::Tag(_)) || self.changes()
    }

    /// Whether it changes what lies in a slot.
    fn changes(&self) -> bool {
        matches!(
            self,
            Self::Add(_)
                | Self::Del(_)
                | Self::Take(_)
                | Self::AddMany(_)
                | Self::DelMany(_)
                | Self::TakeMany(_)
        )
    }
}

/// What to do about a refusal.
fn plea(operation: &Operation) -> &'static str {
    match operation {
        Operation::Find(_) => {
            "check the name; if it is right, ask its administrator for a rule that allows anything there"
        }
        Operation::Reload | Operation::Purge(_) | Operation::Status => {
            "ask its administrator for a rule that allows to operate the broker"
        }
        _ => "ask its administrator for a rule that allows it",
    }
}

/// What to do about an empty slot.
fn absent(operation: &Operation) -> &'static str {
    match operation {
        Operation::Del(_) | Operation::DelMany(_) | Operation::Purge(_) => {
            "there is nothing to delete"
        }
        _ => "something has to be added first",
    }
}

/// What to do about a quota, which the broker names by the policy's key for it.
fn room(errno: Errno, text: &str) -> &'static str {
    let names = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if errno == Errno::MFILE {
        "try again when descriptors have been deleted there"
    } else if names(&["connections"]) {
        "close connections of this user, or ask its administrator to raise the limit"
    } else if names(&["deposits", "payloads", "half of"]) {
        "delete deposits, or ask its administrator to raise the limit"
    } else if names(&["was opened"]) {
        "read the answers that are due, and try again"
    } else if names(&["claims", "being opened", "wait to be closed"]) {
        "try again later"
    } else {
        "delete deposits or close connections of this user, or ask its administrator to raise the limit"
    }
}

/// What may be the reason where no answer comes.
fn silence(operation: &Operation) -> &'static str {
    if operation.waits_for_a_tag() {
        "another session may hold the tag, or the broker may hang"
    } else {
        "the broker may be overloaded, or hang"
    }
}

/// What to do about an answer that is no refusal.
fn cure(errno: Errno) -> &'static str {
    match errno {
        Errno::OPNOTSUPP => {
            "deposit a kind that the tag accepts, or ask its administrator to add this one to `accept`"
        }
        Errno::AGAIN => "it is starting or stopping: try again",
        Errno::BUSY | Errno::TIMEDOUT => "try again later",
        Errno::NODEV | Errno::IO => "its administrator finds the reason in its log",
        _ => "check that client and broker are of matching versions",
    }
}

/// What to do about a broker that cannot be reached.
fn reach(socket: &Path, source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "this user may not connect to that socket",
        io::ErrorKind::InvalidInput => "a socket's path has at most 107 bytes",
        io::ErrorKind::NotConnected => "the next request connects again",
        io::ErrorKind::NotFound if is_abstract(socket) => {
            "abstract socket names are not supported: name the path of a socket file"
        }
        io::ErrorKind::ConnectionRefused => refused(socket),
        _ => "check that it runs, and that this is its socket",
    }
}

/// Whether it looks like the way in which systemd and others write an abstract name.
fn is_abstract(socket: &Path) -> bool {
    let bytes = socket.as_os_str().as_encoded_bytes();
    bytes.starts_with(b"@") && !bytes.contains(&b'/')
}

/// What to do where something is at the path, and nobody listens there.
fn refused(socket: &Path) -> &'static str {
    match socket.metadata() {
        Ok(found) if found.is_dir() => "that is a directory: name the socket in it",
        Ok(found) if !found.file_type().is_socket() => {
            "that is no socket: name the broker's socket"
        }
        _ => {
            "nobody listens on that socket: check that the broker runs; where the socket file itself is mounted into a container, mount its directory instead, since a broker that is restarted makes a new file"
        }
    }
}
