//! What an entry of the log says, before it has a form.

use std::fmt;

use fdbroker_policy::{Gid, Uid};
use fdbroker_wire::{Index, Slot, Tag};

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) level: Level,
    /// The sentence; for a record the form makes one from its fields.
    pub(crate) message: &'a str,
    /// What was decided, where the entry is of the audit trail.
    pub(crate) record: Option<Record<'a>>,
}

/// How much an entry matters, as syslog(3) orders it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    Error,
    Warning,
    Info,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One record of the audit trail: who asked for what, what was decided by which rule, and what
/// came of it.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// 0 for a process in a pid namespace that the broker does not see.
    pub(crate) pid: i32,
    /// What was asked for: a right, or `connect`.
    pub(crate) right: &'a str,
    pub(crate) subject: Subject,
    pub(crate) name: Name<'a>,
    pub(crate) verdict: Verdict,
    /// The rule that decided; none when no rule did.
    pub(crate) rule: Option<&'a str>,
    /// Who wrote the request, where that is not who connected.
    pub(crate) sender: Option<(Uid, Gid, i32)>,
    /// What came of it, or why it was refused.
    pub(crate) reason: &'a str,
}

/// What a request was about. Shown as `tag/index`, `tag/*` for a whole tag, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Slot(Slot),
    Tag(Tag),
    /// A connection, or something that was no request.
    Nothing,
}

/// What the policy calls the subject: a resource's name, `tag/index`, a tag's name, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Name<'a> {
    Plain(&'a str),
    Indexed(&'a str, Index),
    None,
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Allowed, and done.
    Granted,
    /// Not allowed, by the policy or a quota.
    Refused,
    /// Allowed, but it could not be done.
    Failed,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => slot.fmt(f),
            Self::Tag(tag) => write!(f, "{tag}/*"),
            Self::Nothing => Ok(()),
        }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => f.write_str(name),
            Self::Indexed(tag, index) => write!(f, "{tag}/{index}"),
            Self::None => Ok(()),
        }
    }
}

impl<'a> Entry<'a> {
    /// An entry that is not of the audit trail.
    pub(crate) fn event(level: Level, message: &'a str) -> Self {
        Self { level, message, record: None }
    }

    /// An entry of the audit trail.
    pub(crate) fn audit(record: Record<'a>) -> Self {
        let level = match record.verdict {
            Verdict::Granted => Level::Info,
            Verdict::Refused | Verdict::Failed => Level::Warning,
        };
        Self { level, message: "audit", record: Some(record) }
    }
}
