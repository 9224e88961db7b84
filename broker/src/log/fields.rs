//! The fields of a record, listed once. Each form writes them in this order.

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
}

/// Calls a macro with arguments and then, of each field, what it is, its names and its value.
/// `Maybe` is a number that some records do not have.
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
            Number gid "FDBROKER_GID" = $record.gid.0,
            Number pid "FDBROKER_PID" = $record.pid,
            Text unit "FDBROKER_UNIT" = $record.unit,
            Maybe sender_uid "FDBROKER_SENDER_UID" = $record.sender.map(|(uid, _, _)| uid.0),
            Maybe sender_gid "FDBROKER_SENDER_GID" = $record.sender.map(|(_, gid, _)| gid.0),
            Maybe sender_pid "FDBROKER_SENDER_PID" = $record.sender.map(|(_, _, pid)| pid),
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
    (Number $value:expr) => { Some(Value::Number(i64::from($value))) };
    ($kind:ident $value:expr) => { Some(Value::$kind($value)) };
}

impl<'r> Record<'r> {
    /// Has `visitor` see each field that this record has.
    pub(crate) fn visit(&self, mut visitor: impl FnMut(Field<'r>)) {
        with_fields!(self => visit visitor);
    }
}
