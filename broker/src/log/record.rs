//! What an entry of the log says, before it has a form.

use std::fmt;

use fdbroker_policy::{Gid, Uid};
use fdbroker_wire::{Index, Slot, Tag};

use super::handed_out::{HandedOut, LeaseEnd};

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

    /// Its number in syslog(3).
    pub(crate) fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            // Notice: as the journal has it from tracing-journald.
            Self::Info => 5,
        }
    }
}

/// One record of the audit trail: the peer, its request, the decision and its rule, and the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) uid: Uid,
    /// `None` if it was not kept.
    pub(crate) gid: Option<Gid>,
    /// 0 for a process in a pid namespace that the broker does not see.
    pub(crate) pid: i32,
    /// The service manager's unit that it runs in; `none`, or `unknown` when it could not be read.
    pub(crate) unit: &'a str,
    /// What was asked for: a right, or `connect`, `open`, `reload`.
    pub(crate) right: &'a str,
    pub(crate) subject: Subject,
    pub(crate) name: Name<'a>,
    pub(crate) verdict: Verdict,
    /// The rule that decided; `None` if no rule did.
    pub(crate) rule: Option<&'a str>,
    /// Who wrote the request, where that is not who connected.
    pub(crate) sender: Option<(Uid, Gid, i32)>,
    /// Which connection was handed out, or was held.
    pub(crate) handed_out: HandedOut<'a>,
    /// How that has ended, where this is the record of the end.
    pub(crate) end: Option<LeaseEnd>,
    /// The result, or why it was refused.
    pub(crate) reason: &'a str,
    /// How many equal ones it stands for.
    pub(crate) count: u32,
}

/// What a record is about. Each kind has its MESSAGE_ID, which never changes: see
/// systemd.journal-fields(7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    /// A request was decided.
    Decision,
    /// A resource was opened, or could not be.
    Open,
    /// The policy was read again.
    Reload,
    /// A connection was ended by the broker.
    CutOff,
    /// A connection was refused.
    Connection,
    /// Something happened to a claim of a tag.
    TakeOver,
    /// A lease has ended.
    LeaseEnd,
    /// Another broker was to take this one's place.
    HandOver,
}

impl Kind {
    /// In the order of their discriminants.
    pub(crate) const ALL: [Self; 8] = [
        Self::Decision,
        Self::Open,
        Self::Reload,
        Self::CutOff,
        Self::Connection,
        Self::TakeOver,
        Self::LeaseEnd,
        Self::HandOver,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Open => "open",
            Self::Reload => "reload",
            Self::CutOff => "cut-off",
            Self::Connection => "connection",
            Self::TakeOver => "take-over",
            Self::LeaseEnd => "lease-end",
            Self::HandOver => "hand-over",
        }
    }

    pub(crate) fn message_id(self) -> &'static str {
        match self {
            Self::Decision => "a520fbdd8c1948bf8a2e79fe9d4d2b78",
            Self::Open => "82627873eb4d428da9c2df07ea8bf6cb",
            Self::Reload => "5843d019f5f4410d8cb4a1166e9443d9",
            Self::CutOff => "170fe7c695654831a2c328deab9ede6a",
            Self::Connection => "7d292cd6da7a4443a745b59b6f58d07e",
            Self::TakeOver => "f3059c1e1d074179940853ceeff8bdad",
            Self::LeaseEnd => "dc871bb0d4b243b4bb9729bc3b2f3c1e",
            Self::HandOver => "5c7597bc375e41b2a9149dbff8103c03",
        }
    }
}

/// What a request was about. Shown as `tag/index`, `tag/first-last` for several slots, `tag/*` for
/// a whole tag, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Subject {
    Slot(Slot),
    /// All slots from one to the last that is named, of which the same is to be said.
    Run(Slot, Index),
    /// Some slots from one to the last that is named; how many were asked for, each time counted.
    Within(Slot, Index, u32),
    Tag(Tag),
    /// A connection, the broker, or something that was no request.
    Nothing,
}

/// What the policy calls the subject: a resource's name, `tag/index`, `tag/first-last`, a tag's name,
/// or nothing. Of a name that the policy does not know, the name as it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Name<'a> {
    Plain(&'a str),
    Indexed(&'a str, Index),
    Run(&'a str, Index, Index),
    None,
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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

/// A record that outlives what it speaks of.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRecord {
    /// The same, but for its texts.
    rest: Record<'static>,
    unit: String,
    right: String,
    name: String,
    rule: Option<String>,
    peer: Option<String>,
    reason: String,
    pub(crate) count: u32,
}

impl OwnedRecord {
    /// Counts another record that is equal but for what it is about.
    pub(crate) fn add(&mut self, other: &Record<'_>) {
        // One slot was asked for as often as it was counted.
        let slots = |subject: Subject, count| subject.slots().unwrap_or(count);
        let slots =
            slots(self.rest.subject, self.count).saturating_add(slots(other.subject, other.count));
        self.count = self.count.saturating_add(other.count);
        // Of one slot that is asked for again and again, the count says how often.
        if self.rest.subject == other.subject && other.subject.slots().is_none() {
            return;
        }
        self.rest.subject = self.rest.subject.joined(other.subject, slots);
        self.name = other.name.of_all(self.rest.subject);
    }

    /// Counts another record, also one that is not equal; `reason` says of all of them why.
    pub(crate) fn add_any(&mut self, other: &Record<'_>, reason: &str) {
        self.add(other);
        if self.right != other.right {
            "several".clone_into(&mut self.right);
        }
        if self.rule.as_deref() != other.rule {
            self.rule = None;
        }
        reason.clone_into(&mut self.reason);
    }

    pub(crate) fn borrow(&self) -> Record<'_> {
        Record {
            unit: &self.unit,
            right: &self.right,
            name: if self.name.is_empty() { Name::None } else { Name::Plain(&self.name) },
            rule: self.rule.as_deref(),
            handed_out: HandedOut { peer: self.peer.as_deref(), ..self.rest.handed_out },
            reason: &self.reason,
            count: self.count,
            ..self.rest
        }
    }
}

impl<'a> Record<'a> {
    /// A record of a process that says nothing yet.
    pub(crate) const fn of(uid: Uid, gid: Gid, pid: i32, unit: &'a str) -> Self {
        Self {
            kind: Kind::Decision,
            uid,
            gid: Some(gid),
            pid,
            unit,
            right: "none",
            subject: Subject::Nothing,
            name: Name::None,
            verdict: Verdict::Granted,
            rule: None,
            sender: None,
            handed_out: HandedOut { lease: None, peer: None, session: None },
            end: None,
            reason: "",
            count: 1,
        }
    }
}

impl Record<'_> {
    pub(crate) fn owned(self) -> OwnedRecord {
        let handed_out = self.handed_out.without_texts();
        let (name, rule) = (Name::None, None);
        let rest = Record { unit: "", right: "", name, rule, handed_out, reason: "", ..self };
        OwnedRecord {
            rest,
            unit: self.unit.to_owned(),
            right: self.right.to_owned(),
            name: self.name.to_string(),
            rule: self.rule.map(str::to_owned),
            peer: self.handed_out.peer.map(str::to_owned),
            reason: self.reason.to_owned(),
            count: self.count,
        }
    }

    /// What makes two records of one user equal, beside the user: not the process, and not which
    /// slot of the tag it was.
    pub(crate) fn question(&self) -> impl std::hash::Hash {
        let gid = self.gid.map(|gid| gid.0);
        let who = (self.uid.0, gid, self.unit, self.sender.map(|(uid, gid, _)| (uid.0, gid.0)));
        // What is no slot or tag has nothing but its name.
        let name = (self.subject == Subject::Nothing).then_some(self.name);
        let what = (self.right, self.subject.tag(), name);
        (who, self.kind, what, self.verdict, self.rule, self.reason)
    }
}

impl Subject {
    /// Returns how many slots it is about, or `None` if it is about one, or none.
    pub(crate) fn slots(self) -> Option<u32> {
        match self {
            Self::Run(first, last) => {
                Some(last.get().abs_diff(first.index.get()).saturating_add(1))
            }
            Self::Within(_, _, slots) => Some(slots),
            Self::Slot(_) | Self::Tag(_) | Self::Nothing => None,
        }
    }

    /// Returns the tag that it is about.
    fn tag(self) -> Option<Tag> {
        match self {
            Self::Slot(slot) | Self::Run(slot, _) | Self::Within(slot, _, _) => Some(slot.tag),
            Self::Tag(tag) => Some(tag),
            Self::Nothing => None,
        }
    }

    /// Returns what both together are about: the slots from the first to the last of either, if
    /// they lie in one tag; so many were asked for.
    pub(crate) fn joined(self, other: Self, slots: u32) -> Self {
        let (Some((first, last)), Some((other_first, other_last))) = (self.ends(), other.ends())
        else {
            return if self == other { self } else { Self::Nothing };
        };
        if first.tag != other_first.tag {
            return Self::Nothing;
        }
        Self::Within(first.min(other_first), last.max(other_last), slots)
    }

    fn ends(self) -> Option<(Slot, Index)> {
        match self {
            Self::Slot(slot) => Some((slot, slot.index)),
            Self::Run(first, last) | Self::Within(first, last, _) => Some((first, last)),
            Self::Tag(_) | Self::Nothing => None,
        }
    }
}

impl Name<'_> {
    /// Returns the name of what `subject` is about, which this is a part of.
    fn of_all(&self, subject: Subject) -> String {
        match (self, subject) {
            (
                Self::Indexed(tag, _) | Self::Run(tag, ..),
                Subject::Run(first, last) | Subject::Within(first, last, _),
            ) => Name::Run(tag, first.index, last).to_string(),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => slot.fmt(f),
            Self::Run(first, last) | Self::Within(first, last, _) => write!(f, "{first}-{last}"),
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
            Self::Run(tag, first, last) => write!(f, "{tag}/{first}-{last}"),
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

/// A refusal of some process, for tests.
#[cfg(test)]
pub(crate) fn sample(pid: i32) -> Record<'static> {
    Record {
        right: "get",
        verdict: Verdict::Refused,
        reason: "no rule allows it",
        ..Record::of(Uid(1), Gid(2), pid, "none")
    }
}

/// A run of slots that was given, for tests.
#[cfg(test)]
pub(crate) fn sample_of_a_run() -> Record<'static> {
    let index = |number| Index::new(number).expect("an index");
    let first = Slot::new(1, 10).expect("a slot");
    Record {
        verdict: Verdict::Granted,
        subject: Subject::Run(first, index(262)),
        name: Name::Run("web", index(10), index(262)),
        reason: "done",
        ..sample(7)
    }
}
