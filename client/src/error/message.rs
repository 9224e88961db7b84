//! Each error as one sentence: what was tried, on which slot, at which socket, what was answered, and what to do.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use fdbroker_types::quoted;
use fdbroker_wire::version2::MAX_NAME;
use fdbroker_wire::{Errno, MAX_PAYLOAD};

use super::{Error, Operation};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.attempt();
        match self {
            Self::Refused { text, .. } => {
                write!(
                    f,
                    "{what} refused it: {text}; {}",
                    plea(&what.operation),
                    text = quoted(text)
                )
            }
            Self::Absent { text, .. } => {
                write!(
                    f,
                    "{what} found nothing there: {text}; {}",
                    absent(&what.operation),
                    text = quoted(text)
                )
            }
            Self::Quota { errno, text, .. } => {
                write!(
                    f,
                    "{what} has no more room ({errno}): {text}; {}",
                    room(*errno, text),
                    text = quoted(text)
                )
            }
            Self::Failed { errno, text, .. } => {
                write!(f, "{what} answered {errno}: {text}", text = quoted(text))?;
                cure(&what.operation, *errno, text).map_or(Ok(()), |cure| write!(f, "; {cure}"))
            }
            Self::Reported { errno, text, .. } => {
                write!(f, "{what} failed ({errno}): {text}", text = quoted(text))
            }
            Self::Version1 { .. } => write!(
                f,
                "{what} speaks version 1 of the protocol only, which has no such request; update \
                 the broker"
            ),
            Self::Unserved { feature, .. } => {
                write!(f, "{what} does not serve {feature}; update the broker")
            }
            Self::Claimed { text, .. } => write!(
                f,
                "{what} changes nothing now: {text}; the tag is being taken over: try again when that has ended",
                text = quoted(text)
            ),
            Self::TakenOver { text, .. } => write!(
                f,
                "{what} belongs to another process: {text}; the tag has been taken over: claim it to have it back",
                text = quoted(text)
            ),
            Self::Protocol { reason, .. } => {
                write!(
                    f,
                    "{what} sent an invalid answer: {reason}; check that it is a broker's \
                          socket"
                )
            }
            Self::NoRoom { .. } => write!(
                f,
                "{what} sent a descriptor, but this process has too many open files; close some, \
                 or raise the limit (ulimit -n)"
            ),
            Self::Withheld { module, .. } => write!(
                f,
                "{what} sent a descriptor, and {module} did not let this process receive it; look for file_receive, or for \"use\" of fd, in the kernel's audit log, and allow it there"
            ),
            Self::TooLarge { size, .. } => write!(
                f,
                "{what} was not asked: a payload of {size} bytes is too large; the limit is \
                 {MAX_PAYLOAD}"
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

/// What to do about a refusal.
fn plea(operation: &Operation) -> &'static str {
    match operation {
        Operation::Find(_) => {
            "check the name; if it is right, ask its administrator for a right on it"
        }
        Operation::Reload | Operation::Purge(_) => "ask its administrator for the right `operate`",
        Operation::Status | Operation::Leases => {
            "ask its administrator for the right `inspect`, or `operate`"
        }
        Operation::Inspect(_) => "ask its administrator for the right `inspect`",
        Operation::EndLease(_) => {
            "check the number: without the right `operate`, a process can end leases of its own user only"
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
        _ => "add something first",
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
        "the broker may be overloaded, hang, or not start; its log says why, and `fdbroker check` whether its policy loads"
    }
}

/// What to do about an answer that is no refusal; `None` if its text says it.
fn cure(operation: &Operation, errno: Errno, text: &str) -> Option<&'static str> {
    Some(match errno {
        // A rule reaches the deposit, as long as nobody changes that.
        Errno::BUSY if matches!(operation, Operation::Purge(_)) => return None,
        // A strict tag, or a socket of the broker's own.
        Errno::OPNOTSUPP if text.contains("`durability`") => {
            "deposit it in a tag whose `durability` is not strict"
        }
        Errno::OPNOTSUPP if text.contains("own sockets") => return None,
        Errno::OPNOTSUPP => {
            "deposit a kind that the tag accepts, or ask its administrator to add this one to `accept`"
        }
        Errno::AGAIN => "it is starting or stopping: try again",
        Errno::BUSY => "try again later",
        Errno::TIMEDOUT => {
            "try again later; if that does not help, its administrator finds the reason in its log"
        }
        Errno::NODEV | Errno::IO => "its administrator finds the reason in its log",
        _ => "check that client and broker are of matching versions",
    })
}

/// What to do about a broker that cannot be reached.
fn reach(socket: &Path, source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "this user may not connect to that socket (for a while, if it connected too often: the broker's \
             log says), or may not search its directory"
        }
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use fdbroker_types::is_harmful;

    use super::*;
    use crate::{Attempt, UpgradeError};

    /// Text of a stranger, with every character that could mislead a reader.
    fn harmful() -> String {
        (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|it| is_harmful(*it)).collect()
    }

    #[track_caller]
    fn assert_harmless(error: &dyn fmt::Display) {
        let shown = error.to_string();
        assert!(!shown.contains(is_harmful), "{shown:?}");
    }

    #[test]
    fn names_paths_and_texts_show_no_harmful_character() {
        let text = harmful();
        let operation = Operation::Find(text.as_str().into());
        let attempt = Attempt { operation, socket: Path::new(&text).into() };
        assert_harmless(&attempt);
        assert_harmless(&Error::Refused { attempt, text: text.clone() });
        assert_harmless(&UpgradeError::BadName { name: text });
    }

    #[test]
    fn a_purge_that_a_rule_forbids_is_not_to_be_tried_again() {
        let message = |operation| {
            let attempt = Attempt { operation, socket: Path::new("/run/s").into() };
            Error::answered(attempt, Errno::BUSY, "why".to_owned()).to_string()
        };
        assert!(message(Operation::Purge(None)).ends_with(r#"EBUSY: "why""#));
        assert!(message(Operation::Get("1/0".parse().unwrap())).ends_with("; try again later"));
    }

    #[test]
    fn what_a_tag_does_not_keep_is_cured_by_the_reason() {
        let message = |text: &str| {
            let operation = Operation::Add("1/0".parse().unwrap());
            let attempt = Attempt { operation, socket: Path::new("/run/s").into() };
            Error::answered(attempt, Errno::OPNOTSUPP, text.to_owned()).to_string()
        };
        let of_a_kind = message("the tag does not accept a deposit of kind tun; it accepts pipe");
        assert!(of_a_kind.ends_with("add this one to `accept`"), "{of_a_kind}");
        let strict = message(
            "the tag is strict (`durability`), and the service manager cannot keep descriptors of \
             ordinary users before systemd 254; the slot is empty",
        );
        assert!(strict.ends_with("whose `durability` is not strict"), "{strict}");
        let own = message("the broker does not accept its own sockets");
        assert!(own.ends_with("own sockets\""), "{own}");
    }

    #[test]
    fn a_socket_that_may_not_be_reached_may_be_in_a_closed_directory() {
        let advice = reach(Path::new("/run/s"), &io::ErrorKind::PermissionDenied.into());
        assert!(advice.contains("may not search its directory"), "{advice}");
    }

    #[test]
    fn a_path_that_is_not_text_is_shown_by_its_bytes() {
        let socket = Path::new(OsStr::from_bytes(b"/run/\xff")).into();
        let attempt = Attempt { operation: Operation::Connect, socket };
        assert_eq!(attempt.to_string(), r#"connect: the broker at "/run/\xFF""#);
    }
}
