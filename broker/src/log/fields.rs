//! The fields of a record, listed once. Each form writes them in this order.

use jiff::Timestamp;

use super::record::{Name, Record, Subject};

/// A field of a record.
pub(crate) struct Field<'r> {
    /// What the log calls it.
    pub(crate) name: &'static str,
    /// What the journal and the audit file call it.
    pub(crate) journal_name: &'static str,
    pub(crate) value: Value<'r>,
}

/// What a field says.
pub(crate) enum Value<'r> {
    /// One of a few words.
    Word(&'r str),
    Text(&'r str),
    Number(i64),
    Subject(Subject),
    Name(Name<'r>),
    Rule(Option<&'r str>),
    Time(Timestamp),
}

/// Calls a macro with arguments and then, of each field, what it is, its names and its value.
/// `Maybe` is a number that some records do not have, and so are the others that begin so.
macro_rules! with_fields {
    ($record:ident => $then:ident $($argument:tt)*) => {
        $then! {
            [$($argument)*]
            Word kind "FDBROKER_KIND" = $record.kind.name(),
            Word verdict "FDBROKER_VERDICT" = $record.verdict.name(),
            Word right "FDBROKER_RIGHT" = $record.right,
            Subject slot "FDBROKER_SLOT" = $record.subject,
            Maybe slots "FDBROKER_SLOTS" = $record.subject.slots(),
            Name name "FDBROKER_NAME" = $record.name,
            Number uid "FDBROKER_UID" = $record.uid.0,
            Maybe gid "FDBROKER_GID" = $record.gid.map(|gid| gid.0),
            Number pid "FDBROKER_PID" = $record.pid,
            Text unit "FDBROKER_UNIT" = $record.unit,
            Maybe sender_uid "FDBROKER_SENDER_UID" = $record.sender.map(|(uid, _, _)| uid.0),
            Maybe sender_gid "FDBROKER_SENDER_GID" = $record.sender.map(|(_, gid, _)| gid.0),
            Maybe sender_pid "FDBROKER_SENDER_PID" = $record.sender.map(|(_, _, pid)| pid),
            Maybe lease "FDBROKER_LEASE" = $record.handed_out.lease_number(),
            MaybeText peer "FDBROKER_PEER" = $record.handed_out.peer,
            Maybe session "FDBROKER_SESSION" = $record.handed_out.session_number(),
            MaybeTime since "FDBROKER_SINCE" = $record.end.map(|end| end.since),
            MaybeWord ended "FDBROKER_ENDED" = $record.end.map(|end| end.ended),
            Maybe by_uid "FDBROKER_BY_UID" = $record.end.and_then(|end| end.by).map(|by| by.0),
            Rule rule "FDBROKER_RULE" = $record.rule,
            Text reason "FDBROKER_REASON" = $record.reason,
            Number count "FDBROKER_COUNT" = $record.count
        }
    };
}
pub(super) use with_fields;

macro_rules! visit {
    ([$visitor:ident] $($kind:ident $name:ident $journal:literal = $value:expr),*) => {
        $(
            if let Some(value) = visit!($kind $value) {
                $visitor(Field { name: stringify!($name), journal_name: $journal, value });
            }
        )*
    };
    (Maybe $value:expr) => { $value.map(|number| Value::Number(i64::from(number))) };
    (MaybeText $value:expr) => { $value.map(Value::Text) };
    (MaybeWord $value:expr) => { $value.map(Value::Word) };
    (MaybeTime $value:expr) => { $value.map(Value::Time) };
    (Number $value:expr) => { Some(Value::Number(i64::from($value))) };
    ($kind:ident $value:expr) => { Some(Value::$kind($value)) };
}

impl<'r> Record<'r> {
    /// Has `visitor` see each field that this record has.
    pub(crate) fn visit(&self, mut visitor: impl FnMut(Field<'r>)) {
        with_fields!(self => visit visitor);
    }
}

/// A time as every form has it.
pub(super) fn shown(time: Timestamp) -> String {
    format!("{time:.3}")
}
